"""Where the chunks of a sweep run: here, in processes of this machine, or on a cluster, through joblib's backends."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import env_override
from hydra.errors import HydraException

from lossreg.sweeps.batch import Batch, CannotBatch, Outcome, PlainConfig
from lossreg.sweeps.callback import describe
from lossreg.sweeps.resume import JobFailed

log = logging.getLogger(__name__)

BACKENDS = ("serial", "loky", "ray", "dask")
_NEEDS = {
    "loky": ("joblib", "cloudpickle"),
    "ray": ("joblib", "cloudpickle", "ray"),
    "dask": ("joblib", "cloudpickle", "distributed"),
}

_ATTEMPTS = 3

Result = Outcome | Exception


class BackendError(HydraException):
    """The backend is unknown, not installed, or lost all its workers; the message says what to do."""


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


@dataclass(frozen=True)
class Answer:
    """What running a chunk came to.

    Arguments:
        results: one per job; empty if the chunk cannot be run in one program.
        reason: why it cannot.
    """

    results: Sequence[Result] = ()
    reason: str = ""


def run_chunk(run: Callable[..., Sequence[Result]], chunk: Chunk) -> Answer:
    """Run a chunk in this process; whatever the app raises becomes a reason to run the jobs one by one."""
    with env_override(dict(chunk.environment)):
        try:
            results = list(run(chunk.configs, chunk.folders))
        except CannotBatch as reason:
            return Answer(reason=str(reason))
        except Exception as error:
            log.debug("A batch failed", exc_info=True)
            return Answer(reason=f"{type(error).__name__}: {error}")
    if len(results) != len(chunk.configs):
        raise TypeError(f"the app's batch returned {len(results)} outcomes for {len(chunk.configs)} jobs")
    return Answer(results)


class Engine:
    """Hands chunks to a backend.

    Arguments:
        backend: one of `BACKENDS`.
        n_jobs: how many chunks run at once; -1: one per processor.
        address: of the cluster, for ray and dask; without it one is started on this machine.

    Raises:
        BackendError: if the backend is unknown or not installed.
    """

    def __init__(self, backend: str = "serial", n_jobs: int = -1, address: str | None = None) -> None:
        if backend not in BACKENDS:
            raise BackendError(f"hydra.launcher.backend={backend}: choose one of {', '.join(BACKENDS)}")
        missing = [name for name in _NEEDS.get(backend, ()) if importlib.util.find_spec(name) is None]
        if missing:
            raise BackendError(
                f"hydra.launcher.backend={backend} needs {' and '.join(missing)}: pip install lossreg[{backend}]"
            )
        self.backend = backend
        self.n_jobs = n_jobs
        self.address = address

    @contextlib.contextmanager
    def start(self) -> Iterator[int]:
        """Connect to the backend; gives how many chunks can run at once."""
        if self.backend == "serial":
            yield 1
            return
        import joblib

        with contextlib.ExitStack() as stack:
            if self.backend == "ray":
                stack.enter_context(_ray(self.address))
            elif self.backend == "dask":
                stack.enter_context(_dask(self.address))
            stack.enter_context(joblib.parallel_config(backend=self.backend, n_jobs=self.n_jobs))
            yield max(1, joblib.effective_n_jobs(self.n_jobs))

    def run(self, batch: Batch, chunks: Sequence[Chunk]) -> Iterator[tuple[int, Answer]]:
        """Run chunks; gives the place of each and what it came to, as they end.

        What a dead worker leaves is handed out again.

        Raises:
            BackendError: if three times in a row workers die before any chunk ends.
        """
        open_ = dict(enumerate(chunks))
        in_vain = 0
        while open_:
            in_vain += 1
            try:
                for place, answer in self._hand_out(batch, open_):
                    del open_[place]
                    in_vain = 0
                    yield place, answer
            except _lost_workers() as error:
                if in_vain == _ATTEMPTS:
                    raise BackendError(f"the workers of {self.backend} die: {type(error).__name__}: {error}") from error
                log.warning("A worker died (%s); %d chunks are handed out again", type(error).__name__, len(open_))

    def _hand_out(self, batch: Batch, chunks: Mapping[int, Chunk]) -> Iterator[tuple[int, Answer]]:
        import cloudpickle
        from joblib import Parallel, delayed

        path = [str(Path(entry).absolute()) for entry in sys.path]
        tasks = [delayed(_work)(place, path, cloudpickle.dumps((batch.run, chunk))) for place, chunk in chunks.items()]
        parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        for place, answer in parallel(tasks):
            yield place, pickle.loads(answer)


def _work(place: int, path: Sequence[str], task: bytes) -> tuple[int, bytes]:
    """Run a chunk in a worker, which finds the app's modules where the main process finds them."""
    import cloudpickle

    sys.path += [entry for entry in path if entry not in sys.path]
    run, chunk = cloudpickle.loads(task)
    answer = run_chunk(run, chunk)
    return place, cloudpickle.dumps(Answer([_portable(result) for result in answer.results], answer.reason))


def _portable(result: Result) -> Result:
    """A result that another process can read: of an exception, that may be no more than its message."""
    if isinstance(result, Outcome):
        return result
    try:
        pickle.loads(pickle.dumps(result))
    except Exception:
        status, message = describe(result)
        return JobFailed(message, status)
    return result.with_traceback(None)


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
def _ray(address: str | None) -> Iterator[None]:
    import joblib
    import ray
    from ray.util.joblib.ray_backend import RayBackend

    class Ray(RayBackend):
        supports_return_generator = True  # joblib asks for it since its own pool of processes has no such thing

    joblib.register_parallel_backend("ray", Ray)
    mine = not ray.is_initialized()
    if mine:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


@contextlib.contextmanager
def _dask(address: str | None) -> Iterator[None]:
    from distributed import Client

    said = logging.getLogger("distributed")
    level = said.level
    said.setLevel(logging.WARNING)  # it says thirty things about a cluster that starts and stops
    try:
        with Client(address) if address else Client(dashboard_address=":0"):
            yield
    finally:
        said.setLevel(level)
