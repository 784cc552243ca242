"""Many jobs of one Hydra app: composing, grouping, chunks, the results table, resume.

Knows Hydra, knows no Keras: an app hands it a function that runs many configs at once.
"""

from __future__ import annotations

from lossreg.sweeps._batch import Batch, CannotBatch, Outcome, batched, progress
from lossreg.sweeps._callback import SweepResults
from lossreg.sweeps._load import load
from lossreg.sweeps._loggers import Loggers, Run
from lossreg.sweeps._results import ResultsTable, Row

__all__ = ["Batch", "CannotBatch", "Loggers", "Outcome", "ResultsTable", "Row", "Run", "SweepResults"]
__all__ += ["batched", "load", "progress"]
