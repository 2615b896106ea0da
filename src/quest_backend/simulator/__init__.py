"""A fleet of headsets and operators over the real wire, with official clients."""

from quest_backend.simulator.report import Report
from quest_backend.simulator.run import Scenario, SimulatorError, SimulatorOptions, simulate

__all__ = ["Report", "Scenario", "SimulatorError", "SimulatorOptions", "simulate"]
