"""Where the chunks of a sweep run: here, in processes of this machine, or on a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
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


class BackendError(HydraException):
    """The backend is unknown, not installed, or lost all its workers; the message says what to do."""


Run = Callable[[Sequence[PlainConfig], Sequence[Path] | None], Sequence[Outcome | Exception]]
Answer = list[Outcome] | CannotBatch
"""What the jobs of a chunk came to, or why they cannot run in one program."""


@dataclass(frozen=True)
class Chunk:
    """Jobs that run in one program.

    Arguments:
        configs: the config of each job.
        folders: the directory of each job, or `None`.
        environment: environment variables to set while they run.
    """

    configs: Sequence[PlainConfig]
    folders: Sequence[Path] | None
    environment: Mapping[str, str]

    def run(self, run: Run) -> Answer:
        """Run them in this process; whatever the app raises is a reason to run them one by one."""
        with env_override(dict(self.environment)):
            try:
                results = list(run(self.configs, self.folders))
            except CannotBatch as reason:
                return CannotBatch(str(reason))
            except Exception as error:
                log.debug("A batch failed", exc_info=True)
                return CannotBatch(f"{type(error).__name__}: {error}")
        if len(results) != len(self.configs):
            raise TypeError(f"the app's batch returned {len(results)} outcomes for {len(self.configs)} jobs")
        return [result if isinstance(result, Outcome) else Outcome(error=result) for result in results]


class Engine:
    """Hands chunks to a backend.

    Arguments:
        backend: `serial`, `loky`, `ray` or `dask`.
        n_jobs: how many chunks run at once; -1: one per processor.
        address: of the cluster, for ray and dask; without it one is started on this machine.

    Raises:
        BackendError: if the backend is unknown or not installed.
    """

    def __init__(self, backend: str = "serial", n_jobs: int = -1, address: str | None = None) -> None:
        if backend not in _NEEDS:
            raise BackendError(f"hydra.launcher.backend={backend}: choose one of {', '.join(_NEEDS)}")
        missing = [name for name in _NEEDS[backend] if importlib.util.find_spec(name) is None]
        if missing:
            raise BackendError(
                f"hydra.launcher.backend={backend} needs {' and '.join(missing)}: pip install lossreg[{backend}]"
            )
        self.backend = backend
        self._n_jobs = n_jobs
        self._address = address

    @contextlib.contextmanager
    def start(self) -> Iterator[int]:
        """Connect to the backend; gives how many chunks can run at once."""
        if self.backend == "serial":
            yield 1
        elif self.backend == "ray":
            with _ray(self._address) as processors:
                self._workers = processors if self._n_jobs < 0 else self._n_jobs
                yield self._workers
        else:
            import joblib

            cluster = _dask(self._address) if self.backend == "dask" else contextlib.nullcontext()
            with cluster, joblib.parallel_config(backend=self.backend, n_jobs=self._n_jobs):
                yield max(1, joblib.effective_n_jobs(self._n_jobs))

    def run(self, run: Run, chunks: Iterable[Chunk]) -> Iterator[tuple[int, Answer]]:
        """Run chunks; gives the place of each and what its jobs came to, or why it cannot be run, as they end.

        What a dead worker leaves is handed out again.

        Raises:
            BackendError: if three times in a row workers die before any chunk ends.
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
            except _lost_workers() as error:
                if in_vain == _ATTEMPTS:
                    raise BackendError(f"the workers of {self.backend} die: {type(error).__name__}: {error}") from error
                log.warning("A worker died (%s); %d chunks are handed out again", type(error).__name__, len(tasks))

    def _hand_out(self, tasks: list[Any]) -> Iterator[tuple[int, bytes]]:
        if self.backend == "ray":
            import ray
            from ray.util import ActorPool

            worker = ray.remote(_Worker)
            pool = ActorPool([worker.remote() for _ in range(min(self._workers, len(tasks)))])
            yield from pool.map_unordered(lambda actor, task: actor.work.remote(*task), tasks)
        else:
            from joblib import Parallel, delayed

            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
            yield from parallel([delayed(_work)(*task) for task in tasks])


class _Worker:
    """A process on Ray."""

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


def _lost_workers() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [BrokenProcessPool]
    if "ray" in sys.modules:
        from ray.exceptions import RayError

        found.append(RayError)
    if "distributed" in sys.modules:
        from distributed.scheduler import KilledWorker

        found.append(KilledWorker)
    return tuple(found)


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[int]:
    import ray

    mine = not ray.is_initialized()
    if mine:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        if mine:
            ray.shutdown()


@contextlib.contextmanager
def _dask(address: str | None) -> Iterator[Any]:
    from distributed import Client

    said = logging.getLogger("distributed")
    level = said.level
    said.setLevel(logging.WARNING)  # it says thirty things about a cluster that starts and stops
    try:
        with Client(address) if address else Client(dashboard_address=":0") as client:
            yield client
    finally:
        said.setLevel(level)
