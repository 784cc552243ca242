"""What Keras's own classes cannot do: facts about Keras, and no plugin's fault."""

from __future__ import annotations

from lossreg.checks.subject import Subject

# Found by the contract in Keras 3.15; where a release repairs one, the check simply passes.
_KNOWN = {
    ("CategoricalGeneralizedCrossEntropy", "ranks"): "labels of shape (n, 1) are compared with every prediction",
    ("CategoricalGeneralizedCrossEntropy", "finite"): "p ** q has an infinite gradient at p = 0",
    ("CosineSimilarity", "config"): "its get_config leaves axis out; the registry saves it",
    ("Huber", "config"): "its get_config leaves delta out; the registry saves it",
    ("OrthogonalRegularizer", "dtypes"): "it holds its factor as float32, so that other weights raise",
}


def known_of_keras(subject: Subject, check: str) -> str | None:
    """Return why a class of Keras itself fails a check, or `None`; a subclass of it is on its own."""
    kind = type(subject.object._function)
    return _KNOWN.get((kind.__name__, check)) if kind.__module__.partition(".")[0] == "keras" else None
