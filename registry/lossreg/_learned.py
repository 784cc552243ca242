"""The layer by which a model trains and saves what its loss and regularizers learn. This module imports Keras."""

from __future__ import annotations

from typing import Any

import keras


class LearnedNumbers(keras.Layer):
    """The learned numbers of a model's loss and regularizers, as a part of the model."""

    def __init__(self) -> None:
        super().__init__(name="learned_numbers")
        self.built = True

    def held(self) -> list[keras.Variable]:
        """Return the variables that it holds, in order."""
        found: list[keras.Variable] = list(self.variables)
        return found

    def hold(self, variables: list[keras.Variable]) -> None:
        """Hold these scalar variables, and no others."""
        for name in [name for name in vars(self) if name.startswith("number_")]:
            delattr(self, name)
        for place, variable in enumerate(variables):
            setattr(self, f"number_{place}", variable)

    def load_own_variables(self, store: Any) -> None:
        """Load them where the file has them; the configs of the loss and the regularizers have them in any case."""
        if store.keys():
            super().load_own_variables(store)
