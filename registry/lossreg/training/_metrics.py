"""What a model's outputs are worth, by task: scikit-learn's metrics, and which there are. Imports no Keras."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig

import lossreg
from lossreg import did_you_mean
from lossreg.training._config import Config, register_resolver
from lossreg.training._data import Data, data_of
from lossreg.training._errors import ConfigError, DivergedError

Metrics = dict[str, Any]
"""The result of a run, in inference mode, by name; what stands in metrics.json.

The numbers of `SCORES` are those of the rows that were trained on, and with `validation_` and `test_` before their name
of the rows held out, unweighted. `loss` is the chosen loss without penalty, `penalty` the regularizers'; `epochs_run`
the epochs; `seconds` the wall time of building and fitting. `values` are the numbers that changed, by config key: what
schedules came to after the last step, and what was learned. What rows do not determine, as the AUC of one class alone,
is `None`. Of a data set that is not split: `y_hat`, the outputs,
`y_pred`, the classes, and whether it is `solved`: each class is the right one.
"""

SCORES = {
    "binary": ("accuracy", "brier", "auc", "log_loss", "f1", "ece"),
    "multiclass": ("accuracy", "brier", "auc", "log_loss", "f1", "ece"),
    "multilabel": ("accuracy", "brier", "auc", "log_loss", "f1"),
    "regression": ("rmse", "mae", "r2"),
}
"""The metrics of each task: `auc` is the area under the ROC curve, of many classes the mean of one class against the
rest; `f1` the mean over the classes; `ece` the expected calibration error; `brier` the mean squared error of the
probabilities, of many classes summed over them."""

LOSSES = {"binary": "bce", "multiclass": "categorical_crossentropy", "multilabel": "bce", "regression": "mse"}
"""The loss of each task where nobody chooses one."""

MAXIMIZED = ("solved", "accuracy", "auc", "f1", "r2")
"""The metrics of which a higher value is better."""

GENERAL = ("loss", "penalty", "epochs_run", "seconds")
_BINS = 10


def metric_names(data: Data) -> tuple[str, ...]:
    """Return the names of the numbers that a run on this data comes to, any of which may be the objective."""
    if not data.held_out and data.task == "binary":
        return ("solved", "accuracy", "loss", "brier", "penalty", "epochs_run", "seconds")
    parts = (f"{prefix(part)}{name}" for part in data.parts for name in SCORES[data.task])
    return (*parts, *GENERAL)


def prefix(part: str) -> str:
    """Return what stands before the names of a part's metrics."""
    return "" if part == "train" else f"{part}_"


def objectives_of(config: Any, data: Data) -> list[str]:
    """Return the metrics by which runs are compared: what the config says, or the error of the probabilities."""
    own = "rmse" if data.task == "regression" else "brier"
    found = config.objective or prefix("validation" if "validation" in data.parts else "train") + own
    return list(map(str, found if isinstance(found, (list, tuple, ListConfig)) else [found]))


def require_fit(config: Config, data: Data, loss: lossreg.Spec) -> None:
    """Raise ConfigError if the loss is not made for the task, or the config asks for what the data does not have."""
    for path, spec in loss.walk("loss"):
        tasks = {task.partition("_")[0] for task in spec.plugin.tasks}
        if spec.registry is lossreg.losses and tasks and data.task not in tasks:
            made = [name for name in lossreg.losses.names() if data.task in _tasks(name)]
            raise ConfigError(
                f"{path}: {spec.owner} is not made for the task {data.task} of data={data.name}. "
                f"For that are: {', '.join(made)}."
            )
    if config.patience and "validation" not in data.parts:
        raise ConfigError(f"patience: {config.patience} needs rows held out for validation: split.validation=0.2")
    names = metric_names(data)
    for objective in objectives_of(config, data):
        if objective not in names:
            hint = did_you_mean(objective, names)
            raise ConfigError(f"objective: {objective!r} is not accepted; it must be one of {', '.join(names)}.{hint}")


def _tasks(name: str) -> set[str]:
    try:
        return {task.partition("_")[0] for task in lossreg.losses.describe(name).tasks}
    except lossreg.RegistryError:
        return set()


def measure(data: Data, y_hat: Mapping[str, np.ndarray], **measured: Any) -> Metrics:
    """Return the metrics of one model, given its outputs `(rows, outputs)` by part, and what else is known.

    Raises:
        DivergedError: if outputs or what is measured are not finite; the history knows no loss after the last step.
    """
    outputs = {part: np.asarray(y, np.float64) for part, y in y_hat.items()}
    for name, value in {**outputs, **measured, **measured.get("values", {})}.items():
        if name != "values" and not np.isfinite(value).all():
            where = f"The outputs for the rows of {name}" if name in outputs else name
            raise DivergedError(f"{where} became NaN or infinite in the last step. A smaller learning rate may help.")
    # Of a truth table the other metrics tell nothing, and scikit-learn would be imported for them.
    if not data.held_out and data.task == "binary":
        y, own = data.train.y, outputs["train"]
        y_pred = (own > 0.5).astype(int)
        few = {"solved": bool((y_pred == y).all()), "accuracy": float((y_pred == y).mean())}
        few["brier"] = float(np.square(own - y).mean())
        return few | measured | {"y_hat": own.ravel().tolist(), "y_pred": y_pred.ravel().tolist()}
    found: Metrics = {}
    for part, own in outputs.items():
        scored = scores(data, data.parts[part].y, own)
        found |= {f"{prefix(part)}{name}": value for name, value in scored.items()}
    return found | measured


def scores(data: Data, y: np.ndarray, outputs: np.ndarray) -> dict[str, float | None]:
    """Return the metrics of a task, of targets as the loss takes them and float64 outputs; `None`: not determined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what rows do not determine, as the AUC of a part in which a class is missing
        named = zip(SCORES[data.task], map(float, _scores(data, y, outputs)), strict=True)
    return {name: value if np.isfinite(value) else None for name, value in named}


def _scores(data: Data, y: np.ndarray, outputs: np.ndarray) -> list[float]:
    from sklearn import metrics

    if data.task == "regression":
        y, outputs = (part * data.scale + data.shift for part in (y, outputs))
        found = [metrics.root_mean_squared_error(y, outputs), metrics.mean_absolute_error(y, outputs)]
        found.append(metrics.r2_score(y, outputs))
    elif data.task == "multiclass":
        index, every = data.indices(y), range(data.outputs)
        outputs = outputs / outputs.sum(axis=1, keepdims=True)  # float32's do not sum to one in float64
        auc = metrics.roc_auc_score(index, outputs, multi_class="ovr", labels=[*every])
        found = [metrics.accuracy_score(index, outputs.argmax(axis=1))]
        found += [np.square(outputs - np.eye(data.outputs)[index]).sum(axis=1).mean(), auc]
        found += [metrics.log_loss(index, outputs, labels=[*every])]
        found += [metrics.f1_score(index, outputs.argmax(axis=1), average="macro", zero_division=0)]
        found.append(_calibration_error(outputs.max(axis=1), outputs.argmax(axis=1) == index))
    else:
        classes = outputs > 0.5
        several = data.task == "multilabel"
        auc = metrics.roc_auc_score(y if several else y[:, 0], outputs if several else outputs[:, 0])
        found = [float((classes == y).mean()), metrics.brier_score_loss(y.ravel(), outputs.ravel()), auc]
        found.append(metrics.log_loss(y.ravel(), outputs.ravel(), labels=[0, 1]))
        f1 = {"y_true": y if several else y[:, 0], "average": "macro", "zero_division": 0}
        found.append(metrics.f1_score(y_pred=classes if several else classes[:, 0], **f1))
        if not several:
            sure = np.where(classes, outputs, 1 - outputs)[:, 0]
            found.append(_calibration_error(sure, (classes == y)[:, 0]))
    return found


def baseline(data: Data, part: str) -> dict[str, float | None]:
    """Return the metrics of who answers the same to everything: the share of each class, or the mean target."""
    y, rows = data.train.y, len(data.parts[part])
    own = np.eye(data.outputs)[y] if y.ndim == 1 else y
    return scores(data, data.parts[part].y, np.tile(own.mean(axis=0), (rows, 1)))


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the mean distance of confidence and accuracy over ten bins of confidence (Guo et al., 2017)."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [np.abs(np.sum(right[bins == b]) - np.sum(confidence[bins == b])) for b in range(_BINS)]
    return float(np.sum(gaps) / len(right))


def _told(root: DictConfig, tell: Callable[[Data], Any], otherwise: Any) -> Any:
    """Return what a config's data tell a resolver; where they cannot be loaded, read_config says what is wrong."""
    try:
        return tell(data_of(root))
    except (ConfigError, lossreg.RegistryError):
        return otherwise


def _names(*, _root_: DictConfig) -> list[str]:
    """Return the metrics of a config's data: `${metrics:}`."""
    names: list[str] = _told(_root_, lambda data: list(metric_names(data)), [])
    return [name for name in names if name not in ("penalty", "epochs_run")]


def _maximized(*, _root_: DictConfig) -> list[str]:
    """Return the metrics of a config's data of which a higher value is better: `${maximized:}`."""
    return [name for name in _names(_root_=_root_) if name.rpartition("_")[2] in MAXIMIZED]


def _objective(*, _root_: DictConfig) -> str | list[str]:
    """Return the metric by which a config's runs are compared, or several: `${objective_of:}`."""
    found: list[str] = _told(_root_, lambda data: objectives_of(_root_, data), ["loss"])
    return found if len(found) > 1 else found[0]


def _loss(*, _root_: DictConfig) -> str:
    """Return the loss of a config's task, by its qualified name: `${loss_of:}`."""
    return f"lossreg/{LOSSES[_told(_root_, lambda data: data.task, 'binary')]}"


register_resolver("loss_of", _loss)
register_resolver("metrics", _names)
register_resolver("maximized", _maximized)
register_resolver("objective_of", _objective)
