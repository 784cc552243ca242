from __future__ import annotations

from hydra.core.plugins import Plugins

# Hydra imports its plugins once; a test that puts its singletons back must not put back those from before.
Plugins.instance()
