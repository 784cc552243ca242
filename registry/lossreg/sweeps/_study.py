"""The study of Optuna's sweeper: kept beside the table, so that a sweep goes on with it."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from pathlib import Path

from omegaconf import DictConfig

from lossreg.sweeps._resume import Done

log = logging.getLogger(__name__)


def keep_study(sweeper: DictConfig, folder: Path, done: Done) -> None:
    """Have Optuna's sweeper keep its study, in the folder if it has no other storage, and go on with the one it kept.

    A trial that has its row, but whose end the study was not told, is told now; the trials to go are `n_trials` without
    those that have a row. A sampler draws other numbers than at the start, where it has a seed.
    """
    import optuna

    own = sweeper.storage is None
    storage = f"sqlite:///{folder.absolute()}/study.db" if own else sweeper.storage
    name = sweeper.study_name or ("sweep" if own else str(folder.absolute()))
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:  # it begins now
        if done:
            sys.exit(f"{folder} holds trials, but {storage} no study '{name}' to go on with. Choose another folder.")
    except Exception as error:
        if done or not own:
            raise
        log.warning("The study cannot be kept, so this sweep cannot be resumed: %s: %s", type(error).__name__, error)
        return
    sweeper.storage, sweeper.study_name = storage, name
    if not done:
        return
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        outcome = done.take([f"{key}={value}" for key, value in {**trial.params, **trial.user_attrs}.items()])
        if outcome is not None and not trial.state.is_finished():
            state = optuna.trial.TrialState.COMPLETE if outcome.error is None else optuna.trial.TrialState.FAIL
            with contextlib.suppress(ValueError):  # the table does not have its value
                study.tell(trial.number, outcome.value, state)
    grid = next((trial.system_attrs["search_space"] for trial in trials if "search_space" in trial.system_attrs), None)
    total = min(sweeper.n_trials, math.prod(map(len, grid.values()))) if grid else sweeper.n_trials
    sweeper.n_trials = max(0, total - len(done))
    if sweeper.n_trials == 0 and not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        sys.exit(f"All {len(done)} trials of {folder} have failed: run more by hydra.sweeper.n_trials.")
    if sweeper.sampler.get("seed") is not None:
        sweeper.sampler.seed += len(done)
