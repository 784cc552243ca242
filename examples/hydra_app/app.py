"""A Hydra app of your own: `hydra.searchpath: [registry://]` in its config, two lines in its code.

python examples/hydra_app/app.py loss=mse reg=l2custom reg.r=0.01
"""

from __future__ import annotations

import hydra
import keras
from omegaconf import DictConfig

import registry


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Compile a model with the chosen loss and regularizer."""
    loss = registry.losses.build(cfg.loss)
    regularizer = registry.regularizers.build(cfg.reg)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(cfg.units, kernel_regularizer=regularizer)])
    model.compile(loss=loss)
    registry.attach(model)  # a schedule or a variable in its place follows the training
    print(f"compiled with {model.loss} and {regularizer}")


if __name__ == "__main__":
    main()
