"""A Hydra app of your own: `hydra.searchpath: [lossreg://]` in its config, two lines in its code.

python examples/hydra_app/app.py loss=mse reg=l2custom reg.r=0.01
"""

from __future__ import annotations

import hydra
import keras
from omegaconf import DictConfig

import lossreg


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Compile a model with the chosen loss and regularizer."""
    loss = lossreg.losses.build(cfg.loss)
    regularizer = lossreg.regularizers.build(cfg.reg)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(cfg.units, kernel_regularizer=regularizer)])
    model.compile(loss=loss)
    lossreg.attach(model)  # a schedule or a learned number in its place follows the training
    print(f"compiled with {model.loss} and {regularizer}")


if __name__ == "__main__":
    main()
