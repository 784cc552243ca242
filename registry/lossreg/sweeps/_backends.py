"""Where the chunks of a sweep run: here, in processes of this machine, or on a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import env_override
from hydra.errors import HydraException

from lossreg.sweeps._batch import CannotBatch, JobFailed, Outcome, PlainConfig

log = logging.getLogger(__name__)

_NEEDS = {
    "serial": (),
    "loky": ("joblib", "cloudpickle"),
    "ray": ("cloudpickle", "ray"),
    "dask": ("joblib", "cloudpickle", "distributed"),
}
_ATTEMPTS = 3

Run = Callable[[Sequence[PlainConfig], Sequence[Path] | None], Sequence[Outcome | Exception]]
Answer = list[Outcome] | CannotBatch
"""What the jobs of a chunk came to, or why they cannot run in one program."""


@dataclass(frozen=True)
class Chunk:
    """Jobs that run in one program: their configs, their directories, if they have any, and environment variables."""

    configs: Sequence[PlainConfig]
    folders: Sequence[Path] | None
    environment: Mapping[str, str]

    def run(self, run: Run) -> Answer:
        """Run them in this process; whatever the app raises is a reason to run them one by one."""
        with env_override(dict(self.environment)):
            try:
                results = run(self.configs, self.folders)
            except CannotBatch as reason:
                return CannotBatch(str(reason))
            except Exception as error:
                log.debug("A batch failed", exc_info=True)
                return CannotBatch(f"{type(error).__name__}: {error}")
        return [result if isinstance(result, Outcome) else Outcome(error=result) for result in results]


class Engine:
    """Hands chunks to the backend that `hydra.launcher` names."""

    def __init__(self, backend: str = "serial", n_jobs: int = -1, address: str | None = None) -> None:
        self.backend, self._n_jobs, self._address = backend, n_jobs, address
        if backend not in _NEEDS:
            raise HydraException(f"hydra.launcher.backend={backend}: choose one of {', '.join(_NEEDS)}")
        if n_jobs == 0:
            raise HydraException("hydra.launcher.n_jobs=0: say how many programs run at once, or -1: one per processor")
        missing = [name for name in _NEEDS[backend] if importlib.util.find_spec(name) is None]
        if missing:
            needs = f"{' and '.join(missing)}: pip install lossreg[{backend}]"
            raise HydraException(f"hydra.launcher.backend={backend} needs {needs}")

    @contextlib.contextmanager
    def start(self) -> Iterator[int]:
        """Connect to the backend, or start it on this machine; gives how many chunks can run at once."""
        with contextlib.ExitStack() as stack:
            workers = 1
            if self.backend == "ray":
                import ray

                if not ray.is_initialized():
                    dashboard = False if self._address is None else None
                    ray.init(address=self._address, log_to_driver=False, include_dashboard=dashboard)
                    stack.callback(ray.shutdown)
                workers = self._n_jobs if self._n_jobs > 0 else int(ray.cluster_resources().get("CPU", 1))
            elif self.backend != "serial":
                import joblib

                if self.backend == "dask":
                    from distributed import Client

                    # It says thirty things about a cluster that starts and stops.
                    logging.getLogger("distributed").setLevel(logging.WARNING)
                    stack.enter_context(Client(self._address) if self._address else Client(dashboard_address=":0"))
                stack.enter_context(joblib.parallel_config(backend=self.backend, n_jobs=self._n_jobs))
                workers = max(1, joblib.effective_n_jobs(self._n_jobs))
            self._workers = workers
            yield workers

    def run(self, run: Run, chunks: Iterable[Chunk]) -> Iterator[tuple[int, Answer]]:
        """Run chunks; gives the place of each and its answer, as they end.

        What a dead worker leaves is handed out again; if three times in a row they die before any chunk ends, that is
        a HydraException.
        """
        if self.backend == "serial":
            yield from ((place, chunk.run(run)) for place, chunk in enumerate(chunks))
            return
        import cloudpickle

        path = [str(Path(entry).absolute()) for entry in sys.path]
        tasks = {place: (place, path, cloudpickle.dumps((chunk, run))) for place, chunk in enumerate(chunks)}
        in_vain = 0
        while tasks:
            in_vain += 1
            try:
                for place, answer in self._hand_out(list(tasks.values())):
                    del tasks[place]
                    in_vain = 0
                    yield place, pickle.loads(answer)
            except Exception as error:  # the app's own are answers
                said = f"{type(error).__name__}: {error}"
                if in_vain == _ATTEMPTS:
                    raise HydraException(f"the workers of {self.backend} die: {said}") from error
                log.warning("A worker died (%s); %d chunks are handed out again", said.partition(":")[0], len(tasks))

    def _hand_out(self, tasks: list[Any]) -> Iterator[tuple[int, bytes]]:
        if self.backend == "ray":
            import ray
            from ray.util import ActorPool

            workers = [ray.remote(_Worker).remote() for _ in range(min(self._workers, len(tasks)))]
            yield from ActorPool(workers).map_unordered(lambda worker, task: worker.work.remote(*task), tasks)
        else:
            from joblib import Parallel, delayed

            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
            yield from parallel([delayed(_work)(*task) for task in tasks])


class _Worker:
    def work(self, place: int, path: Sequence[str], task: bytes) -> tuple[int, bytes]:
        return _work(place, path, task)


def _work(place: int, path: Sequence[str], task: bytes) -> tuple[int, bytes]:
    """Run a chunk in a worker, which finds the app's modules where the main process finds them."""
    import cloudpickle

    sys.path += [entry for entry in path if entry not in sys.path]
    chunk, run = cloudpickle.loads(task)
    answer = chunk.run(run)
    return place, cloudpickle.dumps(answer if isinstance(answer, CannotBatch) else list(map(_portable, answer)))


def _portable(outcome: Outcome) -> Outcome:
    """An outcome that another process can read: of an exception, that may be no more than its message."""
    if outcome.error is None:
        return outcome
    try:
        pickle.loads(pickle.dumps(outcome.error))
    except Exception:
        return Outcome(error=JobFailed(outcome.message, outcome.status))
    return Outcome(error=outcome.error.with_traceback(None))
