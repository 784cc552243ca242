"""Loggers: functions of their settings that return a function of the runs that have ended; see docs/trackers.md.

Runs that are handed over together trained in one program, and are to take no more than some milliseconds each.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Logger = Callable[[Sequence[Any]], None]

_POINTS, _POINTS_TOGETHER = 1000, 7  # of a curve


def none() -> Logger:
    """No logger."""
    return lambda runs: None


def tensorboard(folder: str = "tensorboard") -> Logger:
    """TensorBoard, by Keras's callback: `tensorboard --logdir outputs`; a sweep is a table of HParams.

    Arguments:
        folder: where the event files are, in the directory of the run or of its sweep. Defaults to "tensorboard".
    """

    def log(runs: Sequence[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.hparams import api as hparams
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        for run in runs if runs[0].job is not None or not runs[0].sweep else ():  # a sweep is the table of its jobs
            place = Path(run.sweep or run.directory, folder, str(run.job) if run.sweep else "")
            event = Event(wall_time=time.time(), summary=hparams.hparams_pb(run.choices, trial_id=run.name))
            for name, value in run.metrics.items():
                event.summary.MergeFrom(scalar_pb(name, value))
            writer = EventFileWriter(str(place))
            writer.add_event(event)
            for epoch in _epochs(run, _POINTS_TOGETHER) if len(runs) > 1 else ():
                event = Event(wall_time=time.time(), step=epoch)
                for name, values in run.history.items():
                    event.summary.MergeFrom(scalar_pb(f"epoch_{name}", values[epoch]))
                writer.add_event(event)
            writer.close()
            if len(runs) == 1:
                _show(run, str(place))

    return log


def _show(run: Any, place: str) -> None:
    """Write what takes longer: the config, pictures, the model's graph, and curves as Keras has them."""
    import keras
    import tensorflow as tf

    with tf.summary.create_file_writer(place).as_default():
        tf.summary.text("config", "\n".join(f"    {key}: {value}" for key, value in run.params.items()), step=0)
        for path in run.directory.glob("*.png"):
            tf.summary.image(path.stem, tf.io.decode_png(path.read_bytes(), 4)[None], step=0)
    saved = run.directory / "model.keras"
    model = keras.saving.load_model(saved, compile=False) if saved.exists() else keras.Sequential()
    model.optimizer = None  # else its last learning rate is a curve
    callback = keras.callbacks.TensorBoard(place, write_graph=saved.exists())
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in _epochs(run, _POINTS):
        logs = {name.replace("validation_", "val_"): values[epoch] for name, values in run.history.items()}
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()


def mlflow(experiment: str = "lossreg", tracking_uri: str | None = None, model: bool = True) -> Logger:
    """MLflow: a run with its config, curves, metrics, files and model; a sweep is a run with its jobs as children.

    Arguments:
        experiment: the experiment's name. Defaults to "lossreg".
        tracking_uri: a database or a server. Defaults to MLflow's own: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
        model: whether to log the model, for `mlflow.tensorflow.load_model`. Defaults to True.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by itself it tries for minutes
    import mlflow
    from filelock import FileLock
    from mlflow.store.db.db_types import DATABASE_ENGINES

    def log(runs: Sequence[Any]) -> None:
        for name in ("mlflow", "urllib3"):  # they say much
            logging.getLogger(name).setLevel(logging.ERROR)
        if tracking_uri:
            mlflow.set_tracking_uri(tracking_uri)
        sweep, client = runs[0].sweep, mlflow.MlflowClient()
        with FileLock(sweep / ".mlflow.lock") if sweep else contextlib.nullcontext():  # of jobs in other processes
            found = client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else client.create_experiment(experiment)
            parent = _parent(client, number, sweep) if sweep else None
            if len(runs) > 1 and mlflow.get_tracking_uri().partition(":")[0].partition("+")[0] in DATABASE_ENGINES:
                _insert(runs, client.get_experiment(number), parent)
                return
            for run in runs:
                _log(client, run, number, parent, model)

    return log


def _parent(client: Any, experiment: str, sweep: Path) -> str:
    """Return the run of a sweep, made by its first job; a resumed sweep goes on with it."""
    from mlflow.exceptions import MlflowException

    path = sweep / ".mlflow"
    with contextlib.suppress(OSError, MlflowException):  # it may be on another server, or deleted
        client.update_run(path.read_text(), status="RUNNING")
        return path.read_text()
    tags = {"mlflow.runName": "/".join(sweep.parts[-2:]), "directory": str(sweep)}
    path.write_text(client.create_run(experiment, tags=tags).info.run_id)
    return path.read_text()


def _log(client: Any, run: Any, experiment: str, parent: str | None, with_model: bool) -> None:
    """Log all there is of a run."""
    import mlflow
    from mlflow.entities import Metric, Param

    now, saved = int(1000 * time.time()), run.directory / "model.keras"
    key, start = parent, now - int(1000 * run.metrics.get("seconds", 0))
    if key is None or run.job is not None:
        key = client.create_run(experiment, start, _tags(run, parent)).info.run_id
    params = [Param(name, str(value)) for name, value in run.params.items()]
    metrics = [Metric(name, value, now, step) for name, value, step in _metrics(run, _POINTS)]
    with mlflow.start_run(key):
        for place in range(0, max(len(params), len(metrics)), 100):  # it takes no more params at once
            client.log_batch(key, metrics[place : place + 100], params[place : place + 100])
        for path in run.directory.glob("[!.]*.*"):
            if path.is_file() and not (with_model and path == saved):
                client.log_artifact(key, str(path))
        if with_model and saved.exists():
            import keras
            import mlflow.tensorflow

            found = keras.saving.load_model(saved, compile=False)
            mlflow.tensorflow.log_model(found, name="model", pip_requirements=["lossreg"])
    if run.outcome.error:
        client.set_terminated(key, "FAILED")


def _insert(runs: Sequence[Any], experiment: Any, parent: str | None) -> None:
    """Log many jobs in one transaction, with MLflow's tables: its client takes 50 ms for each."""
    import mlflow
    from mlflow.store.tracking.dbmodels import models
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import insert

    now, place = int(1000 * time.time()), experiment.artifact_location
    tables = (models.SqlRun, models.SqlTag, models.SqlParam, models.SqlMetric, models.SqlLatestMetric)
    rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in tables}
    for run in runs:
        key, tags = {"run_uuid": uuid.uuid4().hex}, _tags(run, parent)
        start = now - int(1000 * run.metrics.get("seconds", 0))
        own = {
            "name": tags["mlflow.runName"],
            "status": "FAILED" if run.outcome.error else "FINISHED",
            "start_time": start,
            "end_time": now,
            "user_id": "unknown",
            "lifecycle_stage": "active",
            "experiment_id": int(experiment.experiment_id),
        }
        points = {}
        for name, value, step in _metrics(run, _POINTS_TOGETHER):
            number = 0.0 if math.isnan(value) else float(np.clip(value, -1.7e308, 1.7e308))  # as MLflow has them
            at = {"timestamp": now, "step": step, "is_nan": math.isnan(value)}
            points[name, step] = {**key, "key": name, "value": number, **at}
        rows[models.SqlRun].append({**key, **own, "artifact_uri": f"{place}/{key['run_uuid']}/artifacts"})
        rows[models.SqlTag] += [{**key, "key": name, "value": value} for name, value in tags.items()]
        rows[models.SqlParam] += [{**key, "key": name, "value": str(run.params[name])[:6000]} for name in run.params]
        rows[models.SqlMetric] += points.values()
        rows[models.SqlLatestMetric] += {name: point for (name, _), point in points.items()}.values()
    with SqlAlchemyStore(mlflow.get_tracking_uri(), place).ManagedSessionMaker(read_only=False) as session:
        for table, found in rows.items():
            if found:  # of none it would insert an empty row
                session.execute(insert(table), found)


def _tags(run: Any, parent: str | None) -> dict[str, str]:
    tags = {"mlflow.runName": run.name[:250], "directory": str(run.directory), "error": run.outcome.message[:5000]}
    tags |= {"mlflow.parentRunId": parent, "job": str(run.job)} if parent else {}
    return {name: value for name, value in tags.items() if value}


def _metrics(run: Any, most: int) -> Iterator[tuple[str, float, int]]:
    """Yield the metrics, and points of the curves under `epoch/`, each with its step."""
    yield from ((name, value, 0) for name, value in run.metrics.items())
    for epoch in _epochs(run, most):
        yield from ((f"epoch/{name}", float(values[epoch]), epoch + 1) for name, values in run.history.items())


def _epochs(run: Any, most: int) -> list[int]:
    """Return at most so many epochs of a run, from 0, evenly spread from the first to the last."""
    epochs = min(map(len, run.history.values()), default=0)
    return sorted({*np.linspace(0, epochs - 1, min(epochs, most), dtype=int).tolist()})
