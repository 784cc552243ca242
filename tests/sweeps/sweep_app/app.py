"""A small Hydra app for the tests of sweeps: arithmetic instead of training."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lossreg import sweeps


class DivergedError(Exception):
    status = "diverged"


class Mute(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(0)


ENDS = {"exit": SystemExit, "interrupt": KeyboardInterrupt, "deep": RecursionError, "mute": Mute}


def measure(cfg: DictConfig) -> dict[str, float]:
    if cfg.fail == cfg.seed:
        raise ENDS.get(cfg.note, ValueError)(f"seed {cfg.seed} is\nunlucky")
    if cfg.diverge == cfg.seed:
        raise DivergedError("the loss became NaN at epoch 3")
    brier = (cfg.loss.get("r", 0.0) - 0.5) ** 2 + cfg.reg.get("r", 0.0) + cfg.seed / 100
    return {"solved": brier < 0.1, "loss": 2 * brier, "brier": brier}


def ran(cfg: DictConfig, how: str) -> None:
    """Note in a file, if there is one, that a job ran, and how."""
    if cfg.log:
        with Path(cfg.log).open("a") as file:
            print(how, cfg.loss.name, cfg.seed, os.getpid(), os.environ.get("SWEEP_APP"), file=file)


def group(values: Mapping[str, Any]) -> Hashable:
    cfg = OmegaConf.create(dict(values))
    if cfg.note == "alone":
        raise sweeps.CannotBatch("the note says so")
    return cfg.loss.name, cfg.reg.name, cfg.fail, cfg.diverge


def run(plain: Sequence[Mapping[str, Any]], folders: Sequence[Path] | None) -> list[sweeps.Outcome | Exception]:
    configs = [OmegaConf.create(dict(values)) for values in plain]
    if configs[0].note == "surprise":
        raise sweeps.CannotBatch("it turned out so")
    if configs[0].note == "bug":
        raise RuntimeError("a bug in the batch")
    if configs[0].note == "quits" and any(config.fail == config.seed for config in configs):
        os._exit(0)
    if configs[0].victim and not Path(configs[0].victim).exists():
        Path(configs[0].victim).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    outcomes: list[sweeps.Outcome | Exception] = []
    time.sleep(configs[0].sleep)
    if configs[0].note == "compiled code" and configs[0].seed > 0:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # many minutes in which Python handles no signal
    for number, cfg in enumerate(configs):
        ran(cfg, f"batch-of-{len(configs)}")
        try:
            metrics = measure(cfg)
        except Exception as error:
            outcomes.append(error)
        else:
            outcomes.append(sweeps.Outcome(metrics["brier"], metrics))
            if folders is not None:
                (folders[number] / "metrics.json").write_text(json.dumps(metrics))
    return outcomes


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@sweeps.batched(sweeps.Batch(group, run, overrides=("compiled=true",)))
def main(cfg: DictConfig) -> float:
    ran(cfg, "alone")
    metrics = measure(cfg)
    time.sleep(cfg.sleep)
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return metrics["brier"]


if __name__ == "__main__":
    if "SLOW_TO_END" in os.environ:  # as a program is whose compiled code still runs when Python ends
        atexit.register(time.sleep, 600)
    main()
