"""What a saved model records of what a registry created, and finding it again. Imports Keras only to revive values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from lossreg._catalog import Registry
from lossreg._errors import ParameterError, UnknownNameError
from lossreg._spec import Spec


def node_of(created: Any) -> dict[str, Any]:
    """Return the config node of what a registry created."""
    return {"name": created.plugin.qualified_name, **created.parameters}


def config_of(created: Any) -> dict[str, Any]:
    """Return what a saved model records of what a registry created."""
    return {
        "plugin": created.plugin.qualified_name,
        "version": created.plugin.version,
        "parameters": created.parameters,
    }


def show(parameters: Mapping[str, Any]) -> str:
    """Return parameters as in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def create_again(registry: Registry, config: Mapping[str, Any]) -> Any:
    """Create a plugin's Keras object from what `config_of` recorded.

    Raises:
        UnknownNameError: if the plugin, or one inside of it, is not installed; names it and its distribution.
        ParameterError: if the installed version does not take the parameters.
    """
    import keras

    return registry.build(parse_again(registry, config, keras.saving.deserialize_keras_object))


def parse_again(registry: Registry, config: Mapping[str, Any], revive: Callable[[Any], Any], where: str = "") -> Spec:
    """Parse what `config_of` recorded.

    Arguments:
        registry: where its kind is registered.
        config: `{plugin: <qualified name>, version: …, parameters: {…}}`.
        revive: makes an object of Keras of what Keras wrote of it.
        where: the file it is from, for messages.

    Raises:
        UnknownNameError, ParameterError: as `create_again`.
    """
    values = {name: _revived(value, revive) for name, value in config["parameters"].items()}
    try:
        return registry.parse({**values, "name": config["plugin"]})
    except UnknownNameError as error:
        raise UnknownNameError(_not_found(error, config, where)) from error
    except ParameterError as error:
        raise ParameterError(f"The model was saved with {_origin(config)}. {error}") from error


def _revived(value: Any, revive: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        if {"class_name", "config"} <= value.keys():
            return revive(value)
        return {key: _revived(inner, revive) for key, inner in value.items()}
    return list(map(functools.partial(_revived, revive=revive), value)) if isinstance(value, list) else value


def _not_found(error: UnknownNameError, config: Mapping[str, Any], where: str) -> str:
    """Say which plugin of a saved model is not there, and what would bring it."""
    the = f"{where}: the" if where else "The"
    distribution, _, bare = error.name.rpartition("/")
    if not distribution:
        return (
            f"{the} {error.noun} '{bare}' was registered in the process that saved the model. Register it again first: "
            f"lossreg.{error.group.removeprefix('lossreg.').replace('variables', 'learned')}.register({bare!r})(…)."
        )
    try:
        found = f"but {distribution} {metadata.version(distribution)} has no such {error.noun}"
    except metadata.PackageNotFoundError:
        found = "which is not installed"
    origin = _origin(config) if error.name == config["plugin"] else distribution
    return f"{the} {error.noun} '{bare}' comes from package {origin}, {found}."


def _origin(config: Mapping[str, Any]) -> str:
    return f"{config['plugin'].rpartition('/')[0]} {config.get('version') or ''}".strip() or "this process"
