"""A study of your own: your model, your data, your config; a sweep trains in one program.

python examples/own_study/app.py -m hydra/launcher=vectorized reg=none,l2custom 'seed=range(0,10)'
"""

from __future__ import annotations

from typing import Any

import hydra
from omegaconf import DictConfig

from hydra_plugins.lossreg.app import run
from lossreg import sweeps, training


def convolution(inputs: Any, outputs: int, regularizer: Any) -> Any:
    """Two layers of Keras's, as anybody writes them."""
    import keras

    x = keras.layers.Conv2D(8, 3, activation="relu", kernel_regularizer=regularizer)(inputs)
    return keras.layers.Dense(outputs)(keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(x)))


def together(cfgs: Any, directories: Any) -> list[Any]:
    """Train many configs: the glue, with the lines below it."""
    try:
        results = training.fit_many(convolution, "digits", cfgs)
    except training.CannotVectorizeError as error:
        raise sweeps.CannotBatch(str(error)) from error
    return [
        sweeps.Outcome(result.metrics["validation_accuracy"], result.metrics) if result.metrics else result.error
        for result in results
    ]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@sweeps.batched(sweeps.Batch(training.group_key, together))
def main(cfg: DictConfig) -> float:
    """Train one, and return what a sweep compares."""
    (result,) = training.fit_many(convolution, "digits", [cfg])
    if result.metrics is None:
        raise result.error or training.DivergedError("The loss is not finite.")
    print(
        f"validation accuracy {result.metrics['validation_accuracy']:.3f}, test {result.metrics['test_accuracy']:.3f}"
    )
    return float(result.metrics["validation_accuracy"])


if __name__ == "__main__":
    run(main, training.ConfigError, training.DivergedError)
