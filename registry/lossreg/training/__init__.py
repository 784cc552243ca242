"""Fitting one model, and many in one program: a small network, rows of data, any loss and regularizer.

Importing this package imports no Keras; what needs it is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import platform
from typing import TYPE_CHECKING, Any

from lossreg.training._config import Config, Split, read_config
from lossreg.training._data import Data, Rows, load_data
from lossreg.training._errors import CannotVectorizeError, ConfigError, DivergedError
from lossreg.training._groups import Group, chunk_limit, group_key
from lossreg.training._metrics import Metrics, metric_names, objectives_of, require_fit

if TYPE_CHECKING:
    from lossreg.training._fit import History, diverged, fit
    from lossreg.training._model import build_model
    from lossreg.training._plots import plot_report
    from lossreg.training._report import evaluate, show, write_history, write_metrics, write_whole
    from lossreg.training._vectorized import Trained, fit_many, train_many

__all__ = ["Config", "Data", "Metrics", "Rows", "Split", "load_data", "metric_names", "objectives_of", "read_config"]
__all__ += ["CannotVectorizeError", "ConfigError", "DivergedError", "Group", "chunk_limit", "group_key", "require_fit"]
__all__ += ["History", "Trained", "build_model", "diverged", "evaluate", "fit", "fit_many", "plot_report"]
__all__ += ["show", "train_many", "write_history", "write_metrics", "write_whole"]

# Where XLA's compiler finds a multiplication next to an addition, it rounds once instead of twice (FMA). Where it finds
# them depends on the whole program, so a model's numbers would depend on how many train with it. AVX has no FMA.
if platform.machine().lower() in ("x86_64", "amd64") and "xla_cpu_max_isa" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX".strip()


def __getattr__(name: str) -> Any:
    for file in ("_model", "_fit", "_report", "_vectorized", "_plots") if name in __all__ else ():
        if hasattr(module := importlib.import_module(f"{__name__}.{file}"), name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
