"""Losses and regularizers by name, on XOR or data of one's own: compose → parse → load → build → fit → report.

python train.py loss=mix loss.r=0.8 reg=l2custom
python train.py data=csv data.path=table.csv data.target=outcome
python train.py --multirun loss=bce,mse,mix reg=none,l2custom
python train.py --help
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import lossreg
from hydra_plugins.lossreg.app import run
from lossreg import sweeps, training

log = logging.getLogger(__name__)

ConfigStore.instance().store(name="schema", node=training.Config, provider="train.py")


def told(metrics: training.Metrics, objectives: Sequence[str]) -> Any:
    """Return what a sweeper is told of a run: its objective, or several; `None` where the rows do not determine it."""
    values = tuple(metrics[name] for name in objectives)
    return values if len(values) > 1 else values[0]


def train_together(
    cfgs: Sequence[Mapping[str, Any]], directories: Sequence[Path] | None
) -> list[sweeps.Outcome | Exception]:
    """Train many models in one program; the numbers of each are those of `main` with `jit_compile=true`."""
    with lossreg.quiet_startup():
        from lossreg.training import train_many, write_history, write_metrics

    try:
        results = train_many(cfgs, on_progress=sweeps.progress)
    except training.CannotVectorizeError as error:
        raise sweeps.CannotBatch(str(error)) from error
    config = training.read_config(cfgs[0])
    objectives = training.objectives_of(config, training.load_data(config))
    outcomes: list[sweeps.Outcome | Exception] = []
    for index, result in enumerate(results):
        if directories:
            write_history(result.history, directories[index])
        if result.metrics is None:
            diverged = result.error or training.DivergedError("The loss is not finite.")
            outcomes.append(sweeps.Outcome(error=diverged, history=result.history))
            continue
        if directories:
            write_metrics(result.metrics, directories[index])
        outcomes.append(sweeps.Outcome(told(result.metrics, objectives), result.metrics, history=result.history))
    return outcomes


TOGETHER = sweeps.Batch(
    training.group_key, train_together, ("jit_compile=true",), lambda cfgs: training.chunk_limit(cfgs[0])
)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@sweeps.batched(TOGETHER)
def main(cfg: DictConfig) -> Any:
    """Train one model, and return its objective, which a sweeper minimises, or maximises where the config says so."""
    started = time.perf_counter()
    directory = Path(HydraConfig.get().runtime.output_dir)

    # Whatever can be refused is refused before TensorFlow is imported.
    loss_spec = lossreg.losses.parse(cfg.loss, key="loss")
    regularizer_spec = lossreg.regularizers.parse(cfg.reg, key="reg")
    config = training.read_config(cfg)
    data = training.load_data(config)
    training.require_fit(config, data, loss_spec)

    with lossreg.quiet_startup():
        loss = lossreg.losses.build(loss_spec, key="loss")
        regularizer = lossreg.regularizers.build(regularizer_spec, key="reg")

    model = training.build_model(config, loss, regularizer)
    if config.verbose:
        model.summary()
    history = training.fit(model, config)
    training.write_history(history, directory)
    if error := training.diverged(history):
        raise error

    metrics = training.evaluate(model, config, epochs_run=len(history["loss"]), seconds=time.perf_counter() - started)
    training.write_whole(directory / "model.keras", model.save)
    training.write_metrics(metrics, directory)
    try:
        figure = training.plot_report(model, history, config, title=" ".join(HydraConfig.get().overrides.task))
        training.write_whole(directory / "report.png", figure.savefig)
    except Exception as error:  # results before pictures
        log.warning("report.png is not drawn: %s", error)
    if config.verbose:
        training.show(metrics, config, directory)
    return told(metrics, training.objectives_of(config, data))


if __name__ == "__main__":
    run(main, training.ConfigError, training.DivergedError)
