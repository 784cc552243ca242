"""Where the chunks of a sweep run: here, in processes of this machine, or on a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import pickle
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import env_override
from hydra.errors import HydraException

from lossreg._errors import is_ctrl_c, said
from lossreg.sweeps._batch import CannotBatch, Outcome, PlainConfig, portable, traceback_of

log = logging.getLogger(__name__)

_NEEDS = {
    "serial": (),
    "loky": ("joblib", "cloudpickle"),
    "ray": ("cloudpickle", "ray"),
    "dask": ("joblib", "cloudpickle", "distributed"),
    "submitit": ("cloudpickle", "submitit"),
}
_SHARED = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")  # by all of submitit's executors

Run = Callable[[Sequence[PlainConfig], Sequence[Path] | None], Sequence[Outcome | Exception]]


class WorkerDied(Exception):  # noqa: N818
    """A chunk that killed the process that ran it, and nothing else did."""


Answer = list[Outcome] | CannotBatch | WorkerDied
"""What the jobs of a chunk came to, or why they cannot run in one program."""


@dataclass(frozen=True)
class Chunk:
    """Jobs that run in one program: their configs, their directories, if they have any, and environment variables."""

    configs: Sequence[PlainConfig]
    folders: Sequence[Path] | None
    environment: Mapping[str, str]
    log: str = "job.log"  # in a job's directory

    def run(self, run: Run) -> Answer:
        """Run them in this process; whatever the app raises is a reason to run them one by one."""
        with env_override(dict(self.environment)):
            try:
                results = run(self.configs, self.folders)
            except CannotBatch as reason:
                return CannotBatch(str(reason))
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                log.debug("A batch failed", exc_info=True)
                return CannotBatch(said(error))
        outcomes = [result if isinstance(result, Outcome) else Outcome(error=result) for result in results]
        for folder, outcome in zip(self.folders or (), outcomes, strict=False):
            if outcome.error is not None and outcome.error.__traceback__ is not None:
                with contextlib.suppress(OSError), (folder / self.log).open("a", encoding="utf-8") as file:
                    file.write(traceback_of(outcome.error))
        return outcomes


class Engine:
    """Hands chunks to the backend that `hydra.launcher` names."""

    def __init__(
        self,
        backend: str = "serial",
        n_jobs: int = -1,
        address: str | None = None,
        submitit: Mapping[str, Any] | None = None,
    ) -> None:
        self.backend, self._n_jobs, self._address = backend, n_jobs, address
        self._submitit = {name: value for name, value in (submitit or {}).items() if value is not None}
        if backend not in _NEEDS:
            raise HydraException(f"hydra.launcher.backend={backend}: choose one of {', '.join(_NEEDS)}")
        if n_jobs < 1 and n_jobs != -1:
            raise HydraException(f"hydra.launcher.n_jobs={n_jobs}: say how many run at once, or -1: one per processor")
        if address and backend not in ("ray", "dask"):
            raise HydraException(f"hydra.launcher.address={address}: backend={backend} has no address")
        if self._submitit and backend != "submitit":
            name, value = next(iter(self._submitit.items()))
            raise HydraException(f"hydra.launcher.submitit.{name}={value} needs hydra.launcher.backend=submitit")
        missing = [name for name in _NEEDS[backend] if importlib.util.find_spec(name) is None]
        if missing:
            needs = f"{' and '.join(missing)}: pip install lossreg[{backend}]"
            raise HydraException(f"hydra.launcher.backend={backend} needs {needs}")

    @contextlib.contextmanager
    def start(self, jobs: int, folder: str = ".") -> Iterator[int]:
        """Connect to the backend, or start it on this machine; gives how many chunks of so many jobs run at once."""
        with contextlib.ExitStack() as stack:
            try:
                self._workers = self._connect(jobs, folder, stack)
            except Exception as error:
                where = f"hydra.launcher.address={self._address}: " if self._address else ""
                where = f"hydra.launcher.submitit={self._submitit}: " if self._submitit else where
                why = said(error).partition("\n")[0]
                raise HydraException(f"{where}{self.backend} cannot be reached: {why}") from error
            yield self._workers

    def _connect(self, jobs: int, folder: str, stack: contextlib.ExitStack) -> int:
        if self.backend == "serial":
            return 1
        if self.backend == "submitit":
            from submitit import AutoExecutor

            self._executor = AutoExecutor(f"{folder}/.submitit/%j", self._submitit.get("cluster"))
            options = {key: value for key, value in self._submitit.items() if key != "cluster"}
            options |= {"array_parallelism": self._n_jobs} if self._n_jobs > 0 else {}
            self._executor.update_parameters(**{k if k in _SHARED else f"slurm_{k}": own for k, own in options.items()})
            return max(1, self._n_jobs)
        if self.backend == "ray":
            import ray

            if not ray.is_initialized():
                dashboard = False if self._address is None else None
                ray.init(address=self._address, log_to_driver=False, include_dashboard=dashboard)
                stack.callback(ray.shutdown)
            return self._n_jobs if self._n_jobs > 0 else int(ray.cluster_resources().get("CPU", 1))
        import joblib

        if self.backend == "dask":
            from distributed import Client

            # It says thirty things about a cluster that starts and stops.
            logging.getLogger("distributed").setLevel(logging.WARNING)
            stack.enter_context(Client(self._address) if self._address else Client(dashboard_address=":0"))
        n_jobs = min(self._n_jobs, max(2, jobs))  # of one, joblib makes none
        stack.enter_context(joblib.parallel_config(backend=self.backend, n_jobs=n_jobs))
        return max(1, joblib.effective_n_jobs(n_jobs))

    def run(self, run: Run, chunks: Iterable[Chunk]) -> Generator[tuple[int, Answer], None, None]:
        """Run chunks; gives the place of each and its answer, as they end.

        After a worker's death one chunk is handed out alone, then again all that are left. One that kills its worker
        when it is alone is answered so; if workers die without any job, that is a HydraException.
        """
        if self.backend == "serial":
            yield from ((place, chunk.run(run)) for place, chunk in enumerate(chunks))
            return
        import cloudpickle

        path = [str(Path(entry).absolute()) for entry in sys.path]
        tasks = {place: (place, path, cloudpickle.dumps((chunk, run))) for place, chunk in enumerate(chunks)}
        alone = False
        while tasks:
            try:
                for place, answer in self._hand_out(list(tasks.values())[: 1 if alone else None]):
                    del tasks[place]
                    yield place, pickle.loads(answer)
            except Exception as error:  # the app's own are answers
                if alone:
                    self._require_workers(path, error)
                    place, _, _ = tasks.pop(next(iter(tasks)))
                    yield place, WorkerDied(said(error).partition("\n")[0])
                else:
                    kind = type(error).__name__
                    log.warning("A worker died (%s); %d chunks are handed out again", kind, len(tasks))
                alone = not alone
            else:
                alone = False

    def _require_workers(self, path: Sequence[str], error: Exception) -> None:
        """Refuse to blame a job for a worker's death where workers die without any."""
        import cloudpickle

        try:
            list(self._hand_out([(0, path, cloudpickle.dumps((Chunk((), None, {}), lambda configs, folders: [])))]))
        except Exception:
            raise HydraException(f"the workers of {self.backend} die: {said(error)}") from error

    def _hand_out(self, tasks: list[Any]) -> Iterator[tuple[int, bytes]]:
        if self.backend == "ray":
            import ray
            from ray.util import ActorPool

            workers = [ray.remote(_Worker).remote() for _ in range(min(self._workers, len(tasks)))]
            yield from ActorPool(workers).map_unordered(lambda worker, task: worker.work.remote(*task), tasks)
        elif self.backend == "submitit":
            yield from self._submit(tasks)
        else:
            from joblib import Parallel, delayed

            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
            yield from parallel([delayed(_work)(*task) for task in tasks])

    def _submit(self, tasks: list[Any]) -> Iterator[tuple[int, bytes]]:
        """Run each as a job of submitit; those that die cost no other, and are known when all have ended."""
        from submitit.helpers import as_completed

        jobs = self._executor.map_array(_work, *zip(*tasks, strict=True))
        died = None
        try:
            for job in as_completed(jobs, poll_frequency=0.5):
                try:
                    yield job.result()
                except Exception as error:
                    died = error
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel(check=False)
        if died:
            raise died


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
    error = None if outcome.error is None else portable(outcome.error).with_traceback(None)
    return dataclasses.replace(outcome, error=error)
