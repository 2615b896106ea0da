"""Backend for fleets of Meta Quest headsets that record hands for robot learning."""

from importlib.metadata import version

__version__ = version("quest-backend")
