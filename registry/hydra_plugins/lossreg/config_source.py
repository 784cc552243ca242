"""Registered plugins as Hydra config groups: the config source `lossreg://`.

Any Hydra app composes from it after one line in its primary config:

```yaml
hydra:
  searchpath: [lossreg://]
```

An app whose `--help` and shell completion should list the options too is started with `hydra_plugins.lossreg.app.run`.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.object_type import ObjectType
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import UnsupportedValueType

if TYPE_CHECKING:
    from lossreg import Registry


class RegistryConfigSource(ConfigSource):
    """Serves every registered name as an option of its group, with its parameters as config keys.

    The config of an option is `{name: <name>, <parameter>: <default>, …}`; a parameter without a default is `???`.
    Listing imports no plugin; loading an option reads the signature of that plugin alone.
    """

    @property
    def groups(self) -> Mapping[str, Registry]:
        """The config groups and the registries whose names are their options."""
        # Hydra scans this module at every start of every app: what costs time is imported where it is needed.
        from lossreg import GROUPS

        return GROUPS

    @staticmethod
    def scheme() -> str:
        return "lossreg"

    def available(self) -> bool:
        return self.path == ""

    def is_group(self, config_path: str) -> bool:
        return config_path == "" or config_path.rstrip("/") in self.groups

    def is_config(self, config_path: str) -> bool:
        group, name = _split(config_path)
        # A name that several packages chose is there; loading it says how to choose.
        return group in self.groups and bool(self.groups[group].matches(name))

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        group = config_path.rstrip("/")
        if group == "":
            return [] if results_filter is ObjectType.CONFIG else sorted(self.groups)
        if results_filter is ObjectType.GROUP or group not in self.groups:
            return []
        return self.groups[group].names()

    def load_config(self, config_path: str) -> ConfigResult:
        from lossreg import BrokenPluginError, RegistryError

        group, name = _split(config_path)
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        try:
            plugin = self.groups[group].find(name, key=f"{group}={name}")
            parameters = self.groups[group].describe(plugin).parameters
        except BrokenPluginError:
            parameters = ()  # the job that takes it says so: in a sweep the others run
        except RegistryError as error:
            raise ConfigCompositionException(str(error)) from error
        node = OmegaConf.create({"name": name})
        for parameter in parameters:
            default: Any = parameter.config_default
            if isinstance(default, (tuple, set, frozenset)):
                default = list(default)
            try:
                node[parameter.name] = "???" if parameter.required else default
            except UnsupportedValueType:
                continue  # such a default stays the plugin's own
            if isinstance(default, dict):
                OmegaConf.set_struct(node[parameter.name], False)  # its keys are the user's
        several = self.groups[group].kind.several
        header = {"package": f"{group}.{plugin.name}" if several else None}
        return ConfigResult(provider=self.provider, path=self.full_path(), config=node, header=header)


def _split(config_path: str) -> tuple[str, str]:
    group, _, name = config_path.partition("/")
    return group, name.removesuffix(".yaml")
