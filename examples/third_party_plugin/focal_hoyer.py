"""A loss and a regularizer for Keras; two entry points in pyproject.toml make them plugins."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def focal(y_true: Any, y_pred: Any, gamma: float = 2.0, alpha: float = 0.5) -> Any:
    """Binary focal loss: crossentropy that looks away from what is already right.

    Formula: `-mean(2α y (1 - p)^γ log(p) + 2(1 - α) (1 - y) p^γ log(1 - p))` over the last axis. With `gamma=0` and
    `alpha=0.5` it is the binary crossentropy.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        gamma: how far to look away, at least 0. Defaults to 2, as in the paper.
        alpha: the weight of the class 1 against the class 0, in [0, 1]. Defaults to 0.5, equal weights.

    Returns:
        The loss per sample, of shape `(batch, …)`, in nats.

    Source: Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    p = ops.clip(y_pred, keras.config.epsilon(), 1 - keras.config.epsilon())
    positive = alpha * y_true * ops.power(1 - p, gamma) * ops.log(p)
    negative = (1 - alpha) * (1 - y_true) * ops.power(p, gamma) * ops.log(1 - p)
    return -2 * ops.mean(positive + negative, axis=-1)


class Hoyer(keras.regularizers.Regularizer):
    """The ratio of the L1 to the L2 norm: sparsity that does not shrink the weights.

    Formula: `scale Σ|w| / √(Σw²)`; 0 for weights that are all 0.

    Arguments:
        scale: the scale of the penalty, at least 0. Defaults to 0.001.

    Source: Hoyer: Non-negative Matrix Factorization with Sparseness Constraints, JMLR 5, 2004.
    """

    def __init__(self, scale: float = 0.001) -> None:
        self.scale = scale

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of weights of any shape, a scalar."""
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(weights)), keras.config.epsilon() ** 2))
        return self.scale * ops.sum(ops.absolute(weights)) / norm

    def get_config(self) -> dict[str, Any]:
        """Return what `Hoyer(**config)` needs."""
        return {"scale": self.scale}
