"""Loading saved models: every registered loss and regularizer in them is found again by its name."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossreg._attach import attach, created_in
from lossreg._errors import ModelFileError, RegistryError
from lossreg._kinds import losses, regularizers, schedules
from lossreg._saving import parse_again

if TYPE_CHECKING:
    import keras

# How Keras writes what a registry created, by the kind of plugin that it holds.
_OURS = {"RegisteredLoss": losses, "RegisteredRegularizer": regularizers, "RegisteredSchedule": schedules}
_OUR_MODULES = {"lossreg._wrappers", "lossreg._numbers"}
# Layers of Keras that run a program of another library, which they read from a path or from the file.
_FOREIGN = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Modules of Keras that read and write files, or fetch them; nothing of theirs is a part of a model.
_NO_PARTS = {"applications", "callbacks", "datasets", "export", "saving", "utils"}
_LARGEST_CONFIG = 2**26  # bytes; a config.json of a gigabyte is no model's
# How Keras writes values that JSON does not have.
_VALUES = {"__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__keras_tensor__"}
# Where Keras keeps the functions that a model may consist of; "builtins" is how it writes them itself.
_HOLDERS = [
    "activations",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "regularizers",
]
_FUNCTIONS = {"builtins", *(f"keras.{name}" for name in _HOLDERS)}
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Load a model that was saved with registered losses and regularizers in it.

    It needs no custom objects and no import of the packages whose plugins the model uses: they are found by name, and
    built with the parameters that they had. Keras's safe mode is on, and only registered plugins and what belongs to
    Keras itself may be in the file.

    Arguments:
        path: a `.keras` file, as `model.save` writes it.

    Returns:
        The model, compiled if it was; training goes on where it stopped.

    Raises:
        UnknownNameError: if a plugin in the file is not installed; names it and its distribution.
        ParameterError: if the installed version of a plugin does not take the parameters in the file.
        ModelFileError: if the file is no `.keras` file, or names anything but registered plugins and Keras's own.

    Example:

    >>> import keras, lossreg, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss=lossreg.losses.create("mix", r=0.8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.keras")
    ...     print(lossreg.load_model(f"{folder}/model.keras").loss)
    <loss lossreg/mix(r=0.8)>
    """
    path = Path(path)
    config = _read_config(path)
    nodes = [(where, value) for where, value in _walk(config) if _names_class(value)]
    for where, node in nodes:
        _refuse_strangers(path, where, node)
    ours = [node for _, node in nodes if node["class_name"] in _OURS]
    for node in ours:
        parse_again(_OURS[node["class_name"]], node["config"], lambda value: 0.0, str(path))

    import keras

    from lossreg import _wrappers  # noqa: F401  registers our classes with Keras

    _refuse_custom_objects(path, config)
    try:
        for _, loss in _walk((config.get("compile_config") or {}).get("loss"), stop=_names_class):
            if isinstance(loss, str):
                keras.losses.get(loss)  # Keras itself looks when training starts
        if config.get("compile_config") and any(node["config"].get("learned") for node in ours):
            return _load_with_learned(path, config["compile_config"])
        model = keras.models.load_model(path, safe_mode=True)
        if not isinstance(model, keras.Model):
            raise ModelFileError(f"{path} holds a {type(model).__name__}, not a model.")
        if getattr(model, "optimizer", None) is not None:
            attach(model)
        return model
    except RegistryError:
        raise
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        raise ModelFileError(f"{path}: Keras cannot load it: {message[:300]}") from error


def _load_with_learned(path: Path, compile_config: dict[str, Any]) -> keras.Model:
    """Load a model whose optimizer trains numbers of its loss and regularizers too, which Keras knows nothing of."""
    import keras

    model = keras.models.load_model(path, safe_mode=True, compile=False)
    model.compile(**keras.saving.deserialize_keras_object(compile_config))
    first: dict[int, Any] = {}
    for each in created_in(model).values():
        for number in each.numbers.values():
            if number.saved_as is not None:  # one variable in several places is one again
                number.share(first.setdefault(number.saved_as, number.trained))
    attach(model)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)  # those of the optimizer are in the same file
    return model


def _read_config(path: Path) -> Any:
    """Return what the file says of the model, as plain data."""
    if not path.exists():
        raise ModelFileError(f"{path}: there is no such file.")
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder. Save the model as one file: model.save('model.keras').")
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            if path.name.endswith(".weights.h5"):
                raise ModelFileError(
                    f"{path} holds weights, not a model. Build the model and call model.load_weights({path.name!r})."
                )
            raise ModelFileError(
                f"{path} is an HDF5 file, which Keras loads without its safe mode. "
                "Save the model as model.save('model.keras')."
            )
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelFileError(f"{path} is no .keras file, as model.save('model.keras') writes it.")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                raise ValueError("it is too large")
            config = json.loads(archive.read("config.json"))
    # A RuntimeError is an entry with a password, or of an unknown compression.
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error, RecursionError, RuntimeError) as error:
        raise ModelFileError(f"{path} is damaged: its config.json cannot be read.") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelFileError(f"{path} is damaged: its config.json describes no model.")
    return config


def _walk(value: Any, where: str = "", stop: Callable[[Any], bool] = lambda value: False) -> Iterator[tuple[str, Any]]:
    """Yield a value and all inside of it, but for what is inside of where it stops, each with its place in the file."""
    yield where, value
    if stop(value):
        return
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inside = ((f"{where}.{key}".lstrip("."), inner) for key, inner in value.items())
    elif isinstance(value, list):
        inside = ((f"{where}[{position}]", inner) for position, inner in enumerate(value))
    for path, inner in inside:
        yield from _walk(inner, path, stop)


def _names_class(value: Any) -> bool:
    """Whether it is a node that names a class or a function."""
    return isinstance(value, dict) and "class_name" in value


def _refuse_strangers(path: Path, where: str, node: dict[str, Any]) -> None:
    """Refuse a node that names anything but a registered plugin, a class or function of Keras, or a plain value."""
    name, module = str(node["class_name"]), str(node.get("module"))
    registered, config = node.get("registered_name"), node.get("config")
    if name == "function":
        name = str(config)
        known = isinstance(config, str) and module in _FUNCTIONS and registered in (None, name) and name.isidentifier()
    elif name in _OURS:
        known = module in _OUR_MODULES and registered == f"lossreg>{name}" and _is_ours(config)
    elif name in _VALUES:
        known = {"module", "registered_name"}.isdisjoint(node)
    else:
        # Keras's classes begin with a capital letter, its functions do not.
        known = module.partition(".")[0] == "keras" and registered in (None, name) and name[:1].isupper()
        known = known and name not in _FOREIGN and _NO_PARTS.isdisjoint(module.split("."))
        # A vocabulary by its path or URL; Keras itself writes the words into the file.
        known = known and not (isinstance(config, dict) and isinstance(config.get("vocabulary"), str))
    if not known:
        named = registered if isinstance(registered, str) and registered != name else f"{module}.{name}"
        raise ModelFileError(
            f"{path}: refused, since {where or 'the model'} is '{named.removeprefix('None.')}', neither a registered "
            "plugin nor of Keras itself. If you trust the file, load it with keras.models.load_model."
        )


def _is_ours(config: Any) -> bool:
    return (
        isinstance(config, dict)
        and isinstance(config.get("plugin"), str)
        and isinstance(config.get("version"), (str, type(None)))
        and isinstance(config.get("packages", {}), dict)
        and isinstance(config.get("parameters"), dict)
    )


def _refuse_custom_objects(path: Path, config: Any) -> None:
    """Refuse names that Keras would look up among the custom objects of this process, before or beside its own."""
    import keras

    custom = keras.saving.get_custom_objects()
    ours = {f"lossreg>{name}" for name in _OURS}
    for where, value in _walk(config):
        if _names_class(value) and value["class_name"] == "function":
            value = value["config"]  # Keras takes `planted` for a custom `package>planted`, too
            strange = not any(hasattr(getattr(keras, module), value) for module in _HOLDERS)
        else:
            strange = isinstance(value, str) and value in custom
            strange = strange and not (value in ours and where.endswith("registered_name"))
        if strange:
            raise ModelFileError(
                f"{path}: refused, since {where} is '{value}', at most a custom object of this process, and no "
                "registered plugin. If you trust the file, load it with keras.models.load_model."
            )
