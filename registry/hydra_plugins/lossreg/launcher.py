"""`hydra/launcher=vectorized`: many jobs in one program, for apps that offer it."""

# No `from __future__ import annotations`: Hydra 1.3 runs this module before it is in sys.modules, where a dataclass
# looks for the meaning of annotations that are text.

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


@dataclass
class SubmititConf:
    """The options of `hydra.launcher.submitit`, which are submitit's and SLURM's own; null: what the cluster has."""

    cluster: str | None = None  # slurm, local (processes here) or debug; null: SLURM's, if there is one
    timeout_min: int | None = None
    mem_gb: float | None = None
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    constraint: str | None = None
    setup: list[str] | None = None  # commands to run before
    additional_parameters: dict[str, Any] | None = None  # others of sbatch


@dataclass
class VectorizedLauncherConf:
    """The options of `hydra/launcher=vectorized`.

    Arguments:
        job_directories: whether the jobs of a batch have directories with config and metrics; `"auto"`: up to 300 jobs.
        chunk_size: how many jobs run in one program at most; by default as many as fit in memory.
        fail_fast: whether to stop at the first job that fails; the same command goes on with the rest.
        backend: where the programs run: `serial` (in this process), `loky` (processes here), `ray`, `dask` or
            `submitit` (jobs of a SLURM cluster).
        n_jobs: how many programs run at once, where the backend is not `serial`; -1: one per processor, for submitit
            as few as hold all jobs.
        address: of a ray or dask cluster; without it one is started on this machine.
        submitit: the options of submitit's executor.
    """

    _target_: str = "hydra_plugins.lossreg.launcher.VectorizedLauncher"
    job_directories: Any = "auto"
    chunk_size: int | None = None
    fail_fast: bool = False
    backend: str = "serial"
    n_jobs: int = -1
    address: str | None = None
    submitit: SubmititConf = field(default_factory=SubmititConf)


ConfigStore.instance().store(group="hydra/launcher", name="vectorized", node=VectorizedLauncherConf, provider="lossreg")


class VectorizedLauncher(Launcher):
    """Runs the jobs of a sweep together where the app offers that (`sweeps.batched`), and one by one where not."""

    def __init__(self, **options: Any) -> None:
        self.options: Any = OmegaConf.to_container(OmegaConf.create(options))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        # Hydra scans this module at every start of every app: what costs time is imported where it is needed.
        from lossreg.sweeps._compose import SweepLoader
        from lossreg.sweeps._launch import Launch
        from lossreg.sweeps._resume import only_tries

        if not isinstance(hydra_context.config_loader, SweepLoader):
            loader: Any = SweepLoader(hydra_context.config_loader, whole=not only_tries(config))
            hydra_context.config_loader = loader  # the sweeper composes jobs with it, too
        self._launch = Launch(hydra_context, task_function, config, **self.options)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.launch_numbered(job_overrides, range(initial_job_idx, initial_job_idx + len(job_overrides)))

    def launch_numbered(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> Sequence[JobReturn]:
        """Launch jobs that have any numbers, in ascending order."""
        return self._launch(job_overrides, numbers)


class SparingLauncher(Launcher):
    """Hands the jobs that have no row to the launcher in whose place the callback `SweepResults` puts it."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from lossreg.sweeps import SweepResults
        from lossreg.sweeps._compose import SweepLoader
        from lossreg.sweeps._resume import SparingLoader, only_tries

        callbacks = hydra_context.callbacks.callbacks
        (results,) = (callback for callback in callbacks if isinstance(callback, SweepResults) and callback.launcher)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.launcher = results.launcher
        self._launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self._context: Any = hydra_context  # its loader is one that the sweeper composes each job with, to try it
        self._done, self._loader = results.done, hydra_context.config_loader
        tries, together = only_tries(config), isinstance(self._loader, SweepLoader)  # which composes all before it runs
        self._sparing: Any = SparingLoader(self._loader, lambda job: tries and (together or self._done.has(job)))
        self._context.config_loader = self._sparing  # type: ignore[assignment]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self._context.config_loader = self._loader
        try:
            return self._done.launch(self._launcher, job_overrides, initial_job_idx)
        finally:
            self._context.config_loader = self._sparing
