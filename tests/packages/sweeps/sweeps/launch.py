"""A module of the other `sweeps`."""
