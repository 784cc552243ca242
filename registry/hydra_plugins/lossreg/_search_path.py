"""The search path entry `lossreg://`; Hydra does not scan this module, or every Hydra app would have the groups."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class RegistrySearchPath(SearchPathPlugin):
    """Adds `lossreg://` to the search path of the app that registers it."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="lossreg", path="lossreg://")
