"""The first-party losses and regularizers; nothing in here that a third party could not write."""
