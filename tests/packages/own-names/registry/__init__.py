"""A person's own package, which knows nothing of lossreg."""

OWNER = "the person's own registry"
