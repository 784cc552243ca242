"""Which tasks a loss is made for: what its author says, or what Keras's own are known to be for."""

from __future__ import annotations

TASKS = ("binary", "multiclass", "multilabel", "regression")
"""What a model may be asked: one of two classes, one of many, any of many, or numbers."""

INTEGERS = "multiclass_integers"
"""The task of a loss of many classes whose targets are integers of shape `(batch,)`, not one column for each class."""

_PROBABILITIES = "binary multilabel"
_OF_KERAS = {
    "BinaryCrossentropy BinaryFocalCrossentropy": _PROBABILITIES,
    "Dice Tversky": "binary multiclass multilabel",
    "Hinge SquaredHinge": "binary multilabel",
    "CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalHinge KLDivergence": "multiclass",
    "CategoricalGeneralizedCrossEntropy SparseCategoricalCrossentropy": INTEGERS,
    "CosineSimilarity": "multiclass multilabel regression",
    "MeanAbsolutePercentageError MeanSquaredLogarithmicError Poisson": "regression",
    "Huber LogCosh MeanAbsoluteError MeanSquaredError": " ".join(TASKS),
    "Circle CTC": "none",  # embeddings and sequences
}
_BY_TARGET = {f"keras.losses:{name}": tasks for names, tasks in _OF_KERAS.items() for name in names.split()}


def known_tasks(target: str) -> tuple[str, ...]:
    """Return the tasks that a loss of Keras is made for, by its entry point's target; nothing for any other."""
    return tuple(_BY_TARGET.get(target, "").split())
