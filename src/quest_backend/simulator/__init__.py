"""A fleet of headsets and operators over the real wire, with official clients."""

from quest_backend.simulator.client import SimulatorError
from quest_backend.simulator.report import Report
from quest_backend.simulator.run import Scenario, SimulatorOptions, simulate

__all__ = ["Report", "Scenario", "SimulatorError", "SimulatorOptions", "simulate"]
