"""Hydra plugins of lossreg: registered losses and regularizers as config groups, and a launcher for many jobs."""
