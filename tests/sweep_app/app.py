"""A small Hydra app for the tests of sweeps: arithmetic instead of training."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


class DivergedError(Exception):
    status = "diverged"


def measure(cfg: DictConfig) -> dict[str, float]:
    if cfg.fail == cfg.seed:
        raise ValueError(f"seed {cfg.seed} is\nunlucky")
    if cfg.diverge == cfg.seed:
        raise DivergedError("the loss became NaN at epoch 3")
    brier = (cfg.loss.get("r", 0.0) - 0.5) ** 2 + cfg.reg.get("r", 0.0) + cfg.seed / 100
    return {"solved": brier < 0.1, "loss": 2 * brier, "brier": brier}


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    metrics = measure(cfg)
    time.sleep(cfg.sleep)
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with (folder / "ran").open("a") as file:
        print(os.getpid(), file=file)
    return metrics["brier"]


if __name__ == "__main__":
    main()
