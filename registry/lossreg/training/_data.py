"""The data of a config: loaded, its task told, split, scaled and encoded as the loss takes it. Imports no Keras."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from omegaconf import DictConfig, OmegaConf

import lossreg
from lossreg._tasks import INTEGERS, TASKS
from lossreg.training._config import Config, Split, register_resolver
from lossreg.training._errors import ConfigError

HELD_OUT = 0.2
HELD_OUT_FROM = 50
"""From so many rows on, a share is held out where nobody says otherwise."""

ACTIVATIONS = {"binary": "sigmoid", "multilabel": "sigmoid", "multiclass": "softmax", "regression": "linear"}
"""What makes outputs of what a model returns, by task."""

_LARGEST = np.finfo(np.float32).max
_CLASSES = 50  # more distinct whole numbers than these are quantities


@dataclass(frozen=True)
class Rows:
    """Some rows of a data set.

    Arguments:
        x: inputs, float32, of shape `(rows, …)`.
        y: targets as the loss takes them: float32 of shape `(rows, outputs)`, or int32 of shape `(rows,)`.
        weight: float32 sample weights of shape `(rows,)`, or `None`.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Inputs, targets, and weights if there are any."""
        return (self.x, self.y) if self.weight is None else (self.x, self.y, self.weight)


@dataclass(frozen=True)
class Data:
    """A data set as it is trained with.

    Arguments:
        name: its registered name.
        task: `"binary"`, `"multiclass"`, `"multilabel"` or `"regression"`.
        outputs: how many outputs a model has.
        classes: what the classes, or the labels, are called.
        parts: the rows by part: `"train"`, and `"validation"` and `"test"` where rows are held out.
        shift, scale: of the targets of a regression, `y · scale + shift` is in their own units.
    """

    name: str
    task: str
    outputs: int
    classes: tuple[str, ...]
    parts: Mapping[str, Rows]
    shift: np.ndarray
    scale: np.ndarray

    @property
    def train(self) -> Rows:
        """The rows that are trained on."""
        return self.parts["train"]

    @property
    def activation(self) -> str:
        """The last activation."""
        return ACTIVATIONS[self.task]

    @property
    def held_out(self) -> bool:
        """Whether rows are held out."""
        return len(self.parts) > 1

    @property
    def arrays(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], tuple[np.ndarray]]:
        """The rows that are trained on, those of validation, and the inputs of all."""
        every = np.concatenate([rows.x for rows in self.parts.values()])
        return self.train.arrays, self.parts["validation"].arrays if "validation" in self.parts else (), (every,)

    def by_part(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of all rows by part."""
        ends = np.cumsum([len(rows) for rows in self.parts.values()])[:-1]
        return dict(zip(self.parts, np.split(outputs, ends), strict=True))

    def indices(self, y: np.ndarray) -> np.ndarray:
        """Return which class each row is of, of targets or outputs of a task of many classes."""
        return y if y.ndim == 1 else y.argmax(axis=1)


def load_data(config: Config | Mapping[str, Any]) -> Data:
    """Load the data set of a config; the same one is loaded once in a process.

    What is held out is chosen by `split.seed`, of each class the same share, by `sklearn.model_selection`. Gaps in the
    inputs are filled (`sklearn.impute.SimpleImputer`, the median) and the inputs scaled (`sklearn.preprocessing`) as
    the rows say that are trained on. Targets of a regression are scaled with the inputs.

    Arguments:
        config: a config, typed or as plain data.

    Raises:
        ConfigError: on a wrong path or column, targets of one class only, NaN among them, or a loss that is not made
            for the task; names it.
    """
    values = config if isinstance(config, Mapping) else vars(config)
    split, weights = values.get("split") or {}, values.get("class_weight")
    wanted = {
        "data": values["data"],
        "task": values.get("task"),
        "split": vars(split) if isinstance(split, Split) else split,
        "scale": values.get("scale"),
        "class_weight": {str(name): weights[name] for name in weights} if isinstance(weights, Mapping) else weights,
        "label_noise": values.get("label_noise") or 0.0,
        "integers": _takes_integers(values.get("loss")),
    }
    return _load(msgspec.msgpack.encode(wanted, order="deterministic"))  # which has NaN, unlike JSON


def _takes_integers(loss: Any) -> bool:
    if loss is None:
        return False
    spec = loss if isinstance(loss, lossreg.Spec) else lossreg.losses.parse(loss, key="loss")
    return any(spec.plugin.tasks == (INTEGERS,) for _, spec in spec.walk())


@functools.lru_cache(maxsize=8)
def _load(wanted: bytes) -> Data:
    settings = msgspec.msgpack.decode(wanted)
    spec = lossreg.datasets.parse(settings["data"], key="data")
    name = spec.plugin.name
    x, y, weight = _arrays(spec)
    task = settings["task"] or _task_of(y)
    encoded, classes = _encode(task, y, name)
    parts = _split(len(x), encoded if task in ("binary", "multiclass") else None, settings["split"], name)
    scaling = settings["scale"] or ("standard" if len(parts) > 1 else "none")
    inputs = _scaled(x, parts, scaling)
    shift, scale = np.zeros(1), np.ones(1)
    if task == "regression" and scaling != "none":
        own = encoded[parts["train"]]
        shift, scale = own.mean(axis=0), np.where(own.std(axis=0) > 0, own.std(axis=0), 1.0)
        encoded = (encoded - shift) / scale
    noise = np.random.default_rng(settings["split"].get("seed") or 0)
    found = {}
    for part, rows in parts.items():
        targets = encoded[rows]
        if settings["label_noise"] and part != "test":
            targets = _flipped(targets, task, settings["label_noise"], noise)
        own_weight = None if weight is None else weight[rows]
        if settings["class_weight"] is not None and part == "train":
            own_weight = _class_weights(settings["class_weight"], targets, task, classes, own_weight)
        if task == "multiclass" and settings["integers"]:
            made = targets.argmax(axis=1).astype(np.int32)
        else:
            made = targets.astype(np.float32)
        found[part] = Rows(
            np.ascontiguousarray(inputs[rows], np.float32),
            np.ascontiguousarray(made),
            None if own_weight is None else own_weight.astype(np.float32),
        )
    return Data(name, task, encoded.shape[1], classes, found, shift, scale)


def _arrays(spec: lossreg.Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return what a data set's function returns, checked."""
    try:
        made = lossreg.datasets.build(spec)
    except lossreg.BrokenPluginError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError):
            raise ConfigError(f"data: {spec.owner} needs {cause.name}: pip install 'lossreg[data]'") from error
        if isinstance(cause, (ValueError, OSError)):  # its own words for what it does not accept
            key, colon, _ = str(cause).partition(":")
            accepted = {parameter.name for parameter in spec.plugin.parameters}
            where = "data." if colon and key in accepted else f"data: {spec.owner}: "
            raise ConfigError(f"{where}{cause}") from error
        raise
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise ConfigError(f"data: {spec.owner} must return (x, y) or (x, y, sample_weight), not {type(made).__name__}")
    x, y, *weights = map(np.asarray, made)
    if x.dtype.kind not in "fiub":
        raise ConfigError(f"data: {spec.owner} has inputs that are no numbers, but {x.dtype}")
    if not len(x) or not len(x) == len(y) == len(weights[0] if weights else x):
        raise ConfigError(f"data: {spec.owner} has {len(x)} rows of inputs and {len(y)} of targets")
    x = x[:, None] if x.ndim == 1 else x
    if (np.abs(x.astype(float)) > _LARGEST).any():
        raise ConfigError(f"data: {spec.owner} has infinite inputs, as float32")
    if y.dtype.kind == "f" and (wrong := int((~(np.abs(y) <= _LARGEST)).sum())):
        raise ConfigError(f"data: {spec.owner} has {wrong} targets that are NaN or infinite, as float32")
    return x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, weights[0].ravel() if weights else None


def _task_of(y: np.ndarray) -> str:
    """Return the task that targets of shape `(rows,)` or `(rows, columns)` ask for."""
    values = np.unique(y)
    if y.ndim > 1:
        if not np.isin(values, (0, 1)).all():
            return "regression"
        return "multiclass" if (y.sum(axis=1) == 1).all() else "multilabel"
    if y.dtype.kind == "f" and not np.isin(values, (0, 1)).all():
        return "regression"
    if len(values) <= 2:
        return "binary"
    return "regression" if y.dtype.kind in "iu" and len(values) > _CLASSES else "multiclass"


def _encode(task: str, y: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return targets as float64 columns, one for each output, and what the classes are called."""
    if task not in TASKS:
        raise ConfigError(f"task: '{task}' is not accepted; it must be one of {', '.join(TASKS)}")
    if task == "regression":
        if y.dtype.kind not in "fiub":
            raise ConfigError(f"task: data={name} has targets that are no numbers, so that it is no regression")
        return y.reshape(len(y), -1).astype(float), ()
    if y.ndim > 1:
        if task == "binary" or not np.isin(y, (0, 1)).all():
            raise ConfigError(f"task: the targets of data={name}, of {y.shape[1]} columns, are not of the task {task}")
        return y.astype(float), tuple(map(str, range(y.shape[1])))
    classes, indices = np.unique(y, return_inverse=True)
    shown = tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in classes.tolist())
    if len(classes) == 1:
        raise ConfigError(f"data: all {len(y)} targets of data={name} are of one class, {shown[0]}: nothing to learn")
    if task == "multilabel":
        raise ConfigError(f"task: the targets of data={name} have one column, so that they are not multilabel")
    if task == "binary":
        if len(classes) > 2:
            raise ConfigError(f"task: the targets of data={name} have {len(classes)} classes, so that it is not binary")
        return indices.reshape(-1, 1).astype(float), shown
    return np.eye(len(classes))[indices], shown


def _split(count: int, classes: np.ndarray | None, split: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    """Return the rows of each part, as indices in the order of the data set."""
    default = HELD_OUT if count >= HELD_OUT_FROM else 0.0
    rest, parts = np.arange(count), {}
    for part in ("test", "validation"):
        share = default if split.get(part) is None else split[part]
        if share:
            try:
                from sklearn.model_selection import train_test_split

                stratify = None if classes is None else classes[rest]
                rest, held = train_test_split(
                    rest, test_size=math.ceil(share * count), random_state=split.get("seed") or 0, stratify=stratify
                )
            except ModuleNotFoundError:
                raise ConfigError(
                    f"split.{part}: to hold out rows needs scikit-learn: pip install 'lossreg[data]', "
                    "or split.validation=0 split.test=0"
                ) from None
            except ValueError as error:
                raise ConfigError(f"split.{part}: {share} of the {count} rows of data={name}: {error}") from None
            parts[part] = np.sort(held)
    return {"train": np.sort(rest), **dict(reversed(parts.items()))}


def _scaled(x: np.ndarray, parts: Mapping[str, np.ndarray], scale: str) -> np.ndarray:
    """Fill gaps and scale, as the rows say that are trained on."""
    flat = x.reshape(len(x), -1).astype(float)
    own = parts["train"]
    if np.isnan(flat).any():
        from sklearn.impute import SimpleImputer

        flat = SimpleImputer(strategy="median", keep_empty_features=True).fit(flat[own]).transform(flat)
    if scale != "none":
        from sklearn import preprocessing

        scalers = {"standard": "StandardScaler", "minmax": "MinMaxScaler", "robust": "RobustScaler"}
        flat = getattr(preprocessing, scalers[scale])().fit(flat[own]).transform(flat)
    return flat.reshape(x.shape)


def _flipped(y: np.ndarray, task: str, share: float, random: np.random.Generator) -> np.ndarray:
    """Return targets of which a share, chosen at random, is of another class."""
    if task not in ("binary", "multiclass"):
        raise ConfigError(f"label_noise: {share} is not accepted; the task {task} has no classes to exchange")
    flipped = y.copy()
    rows = random.choice(len(y), round(share * len(y)), replace=False)
    if task == "binary":
        flipped[rows] = 1 - y[rows]
    else:
        shifts = random.integers(1, y.shape[1], len(rows))
        flipped[rows] = np.eye(y.shape[1])[(y[rows].argmax(axis=1) + shifts) % y.shape[1]]
    return flipped


def _class_weights(
    wanted: Any, y: np.ndarray, task: str, classes: tuple[str, ...], weight: np.ndarray | None
) -> np.ndarray:
    """Return sample weights that also weight the classes."""
    if task not in ("binary", "multiclass"):
        raise ConfigError(f"class_weight: {wanted!r} is not accepted; the task {task} has no classes")
    index = y[:, 0].astype(int) if task == "binary" else y.argmax(axis=1)
    if wanted == "balanced":
        from sklearn.utils.class_weight import compute_sample_weight

        own = compute_sample_weight("balanced", index)
    elif isinstance(wanted, Mapping) and wanted.keys() <= set(classes):
        own = np.array([float(wanted.get(name, 1.0)) for name in classes])[index]
    else:
        shown = f"balanced, or weights of {', '.join(classes)}"
        raise ConfigError(f"class_weight: {wanted!r} is not accepted; it must be {shown}")
    return own if weight is None else own * weight


def steps(share: float = 1.0, *, _root_: DictConfig) -> int:
    """Return the number of steps of the whole fit, or of a share of it: `${steps:}`, `${steps:0.1}` in a config.

    Arguments:
        share: the share, in (0, 1]. Defaults to all.

    Example:

    >>> study = {"data": {"name": "xor"}, "batch_size": 3, "epochs": 500, "warm_up": "${steps:0.1}"}
    >>> OmegaConf.create(study).warm_up
    100
    """
    if not (isinstance(share, (int, float)) and 0 < share <= 1):
        raise ValueError(f"${{steps:{share}}}: the share of the steps must be in (0, 1]")
    try:
        size, epochs, rows = _root_.batch_size, _root_.epochs, len(data_of(_root_).train)
    except RecursionError:
        raise ValueError("${steps:}: the steps are counted by what refers to them") from None
    except (ConfigError, lossreg.RegistryError):
        return 1  # read_config says what is wrong
    if not isinstance(size, int) or not isinstance(epochs, int) or size < 1:
        return 1
    return max(1, round(share * epochs * math.ceil(rows / min(size, rows))))


def data_of(root: DictConfig) -> Data:
    """Load the data of a composed config for a resolver: without its loss, which may hold what is being resolved."""
    found: dict[str, Any] = {key: root[key] for key in ("data", "task", "split") if key in root}
    for key in filter(lambda key: OmegaConf.is_config(found[key]), found):
        found[key] = OmegaConf.to_container(found[key], resolve=True)
    if not isinstance(found.get("split", {}), dict):
        raise ConfigError("split: it has the keys validation, test and seed")
    return load_data(found)


register_resolver("steps", steps)
