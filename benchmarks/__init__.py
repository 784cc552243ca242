"""Timing the project against something real, side by side."""
