"""Losses and regularizers by name on XOR: compose → resolve → build → fit → report.

python train.py loss=mix loss.r=0.8 reg=l2custom
python train.py --multirun loss=bce,mse,mix reg=none,l2custom
python train.py --help
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import lossreg
from hydra_plugins.lossreg.app import run
from lossreg import sweeps
from lossreg._startup import quiet_startup
from lossreg.training.config import read_config
from lossreg.training.errors import CannotVectorizeError, ConfigError, DivergedError
from lossreg.training.groups import chunk_limit, group_key


def train_many(
    cfgs: Sequence[Mapping[str, Any]], directories: Sequence[Path] | None
) -> list[sweeps.Outcome | Exception]:
    """Train many models in one program; the numbers of each are those of `main` with `jit_compile=true`."""
    with quiet_startup():
        from lossreg.training import vectorized
        from lossreg.training.report import write_history, write_metrics

    try:
        outcomes = vectorized.train_many(cfgs)
    except CannotVectorizeError as error:
        raise sweeps.CannotBatch(str(error)) from error
    results: list[sweeps.Outcome | Exception] = []
    for index, (cfg, outcome) in enumerate(zip(cfgs, outcomes, strict=True)):
        if directories:
            write_history(outcome.history, directories[index])
        if outcome.metrics is None:
            results.append(outcome.error or DivergedError("The loss is not finite."))
            continue
        if directories:
            write_metrics(outcome.metrics, directories[index])
        value = float(getattr(outcome.metrics, cfg["objective"]))
        results.append(sweeps.Outcome(value, asdict(outcome.metrics)))
    return results


TOGETHER = sweeps.Batch(group_key, train_many, ("jit_compile=true",), lambda cfgs: chunk_limit(cfgs[0]))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@sweeps.batched(TOGETHER)
def main(cfg: DictConfig) -> float:
    """Train one model, and return the number that a sweeper minimises."""
    started = time.perf_counter()
    directory = Path(HydraConfig.get().runtime.output_dir)

    # Whatever can be refused is refused before TensorFlow is imported.
    lossreg.losses.parse(cfg.loss, key="loss")
    lossreg.regularizers.parse(cfg.reg, key="reg")
    config = read_config(cfg)

    with quiet_startup():
        loss = lossreg.losses.build(cfg.loss, key="loss")
        regularizer = lossreg.regularizers.build(cfg.reg, key="reg")

    from lossreg.training.fit import fit, raise_if_diverged
    from lossreg.training.model import build_model
    from lossreg.training.plots import plot_report
    from lossreg.training.report import evaluate, show, write_history, write_metrics, write_model, write_whole

    model = build_model(config, loss, regularizer)
    if config.verbose:
        model.summary()
    history = fit(model, config)
    write_history(history, directory)
    raise_if_diverged(history)

    metrics = evaluate(model, config, epochs_run=len(history["loss"]), seconds=time.perf_counter() - started)
    figure = plot_report(model, history, config, title=" ".join(HydraConfig.get().overrides.task))
    write_whole(directory / "report.png", figure.savefig)
    write_model(model, directory)
    write_metrics(metrics, directory)
    if config.verbose:
        show(metrics, config, directory)
    return float(getattr(metrics, config.objective))


if __name__ == "__main__":
    run(main, ConfigError, DivergedError)
