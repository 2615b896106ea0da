"""Decisions about the fleet: values in, values out. No clock, loop, network or logger."""
