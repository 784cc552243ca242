"""What a registry created: it knows its plugin and its parameters, is saved by them, and created again."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from lossreg._catalog import Registry
from lossreg._errors import ParameterError, UnknownNameError
from lossreg._kinds import KINDS
from lossreg._plugin import Description
from lossreg._spec import Spec


class Created:
    """What a registry created of a parsed node."""

    _spec: Spec

    @property
    def plugin(self) -> Description:
        """Where it comes from."""
        return self._spec.plugin

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters, defaults resolved, with the values that they have now, as a config has them."""
        node = self._spec.node()
        del node["name"]
        return node

    @property
    def node(self) -> dict[str, Any]:
        """The config node that it could be built of."""
        return {"name": self.plugin.qualified_name, **self.parameters}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"<{self._spec.registry.kind.noun.partition(' ')[0]} {self.plugin.qualified_name}({shown})>"

    def _shown(self) -> Mapping[str, Any]:
        return self.parameters

    def get_config(self) -> dict[str, Any]:
        """Return the qualified name, the parameters, and the versions of all packages that plugins in it are of."""
        return {
            "plugin": self.plugin.qualified_name,
            "version": self.plugin.version,
            "packages": dict(_packages(self.node)),
            "parameters": self.parameters,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Create it again, through the registry.

        Raises:
            UnknownNameError: if the plugin, or one inside of it, is not installed; names it and its distribution.
            ParameterError: if the installed version of the plugin does not take the parameters.
        """
        import keras

        wrapper = f"{cls.__module__}:{cls.__name__}"
        registry = next(registry for registry in KINDS.values() if registry.kind.wrapper == wrapper)
        return registry.build(parse_again(registry, config, keras.saving.deserialize_keras_object))


def _packages(node: Any) -> Iterator[tuple[str, str]]:
    """Yield the packages that a config node names, and those inside it, each with its version."""
    if isinstance(node, Mapping):
        distribution = str(node.get("name")).rpartition("/")[0]
        with contextlib.suppress(metadata.PackageNotFoundError, ValueError):  # plain data may have a name, too
            yield distribution, metadata.version(distribution)
        for inner in node.values():
            yield from _packages(inner)


def parse_again(registry: Registry, config: Mapping[str, Any], revive: Callable[[Any], Any], where: str = "") -> Spec:
    """Parse what a file recorded of what was created; `revive` makes an object of Keras of what Keras wrote of it."""

    def revived(value: Any) -> Any:
        if isinstance(value, dict):
            is_object = {"class_name", "config"} <= value.keys()
            return revive(value) if is_object else {key: revived(inner) for key, inner in value.items()}
        return [revived(inner) for inner in value] if isinstance(value, list) else value

    origin = f"{config['plugin'].rpartition('/')[0]} {config.get('version') or ''}".strip() or "this process"
    try:
        spec = registry.parse({**revived(config["parameters"]), "name": config["plugin"]})
        then = config.get("packages") or {spec.plugin.distribution: config.get("version")}
        now = {inner.plugin.distribution: inner.plugin for _, inner in spec.walk() if inner.plugin.distribution}
        for name in now.keys() & then.keys() if not where else ():  # load_model comes here once more, through Keras
            if then[name] != now[name].version:
                warnings.warn(
                    f"The model was saved with {name} {then[name]}; {now[name].origin} is installed.", stacklevel=3
                )
        return spec
    except ParameterError as error:
        raise ParameterError(f"The model was saved with {origin}. {error}") from error
    except UnknownNameError as error:
        the = f"{where}: the" if where else "The"
        distribution, _, bare = error.name.rpartition("/")
        if not distribution:
            kind = error.group.removeprefix("lossreg.").replace("variables", "learned")
            raise UnknownNameError(
                f"{the} {error.noun} '{bare}' was registered in the process that saved the model. Register it again "
                f"first: lossreg.{kind}.register({bare!r})(…)."
            ) from error
        try:
            found = f"but {distribution} {metadata.version(distribution)} has no such {error.noun}"
        except metadata.PackageNotFoundError:
            found = "which is not installed"
        origin = origin if error.name == config["plugin"] else distribution
        raise UnknownNameError(f"{the} {error.noun} '{bare}' comes from package {origin}, {found}.") from error
