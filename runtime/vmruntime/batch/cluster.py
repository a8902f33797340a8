"""Dask workers: processes of this machine, a scheduler that the user started, or SLURM jobs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmruntime.batch.desk import IN_HAND
from vmruntime.batch.errors import BatchError
from vmruntime.errors import MissingDependencyError, one_line

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Workers", "open_workers", "require_dask"]

ALLOWED_FAILURES = 3
"""Workers that may die while they have a pair, before it is given up (Dask's own default)."""

CLOSING = 10  # seconds that workers get to stop before they are killed


@dataclass(frozen=True)
class Workers:
    """Which workers a batch runs on.

    Parameters
    ----------
    count
        Processes of this machine, or SLURM jobs.
    scheduler
        Address of a scheduler that is running; then `count` is not used.
    slurm
        Options of dask-jobqueue's ``SLURMCluster``, see `vmruntime.batch.slurm`.
    gpus
        GPUs of this machine that its workers take in turn.
    dashboard
        Serve Dask's page on a free port.
    verbose
        Let Dask's own log through.
    """

    count: int = 1
    scheduler: str | None = None
    slurm: Mapping[str, Any] | None = None
    gpus: tuple[int, ...] = ()
    dashboard: bool = False
    verbose: bool = False


def require_dask(*, dashboard: bool = False) -> None:
    """Raise `MissingDependencyError` where Dask, or what its page needs, is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "vm-batch needs distributed; pip install 'voxelmorph-deploy[batch]'"
        ) from None
    if dashboard:
        try:
            import bokeh  # noqa: F401
        except ImportError:
            raise MissingDependencyError(
                "--dashboard needs bokeh; pip install 'bokeh>=3.1'"
            ) from None


@contextmanager
def open_workers(workers: Workers, retries: int) -> Iterator[Client]:
    """Start workers, or find them; what was started is stopped when the block is left.

    Parameters
    ----------
    workers
        Which ones.
    retries
        As many times more may a worker die with a pair than Dask allows by default.

    Raises
    ------
    BatchError
        The scheduler does not answer, or the workers cannot be started.
    """
    import dask
    from distributed import Client

    level = logging.INFO if workers.verbose else logging.CRITICAL
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="vm-batch-"))
        stack.enter_context(dask.config.set(_configuration(level, retries)))
        stack.enter_context(_log_level(level))
        try:
            if workers.scheduler is not None:
                target: Any = workers.scheduler
            else:
                target = stack.enter_context(_cluster(workers, level, Path(scratch)))
            client = stack.enter_context(Client(target, set_as_default=False, timeout=15))
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
            where = workers.scheduler or ("SLURM" if workers.slurm else "this machine")
            raise BatchError(
                f"no Dask workers on {where}: {one_line(error)}; see docs/batch.md"
            ) from error
        yield client


def _cluster(workers: Workers, level: int, scratch: Path) -> Any:
    """Workers of this machine or of SLURM, to be closed."""
    if workers.slurm is not None:
        from vmruntime.batch.slurm import slurm_cluster

        return slurm_cluster(workers.slurm, workers.count, dashboard=workers.dashboard)
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers.count,
        threads_per_worker=IN_HAND,
        processes=True,
        host="127.0.0.1",
        # Any free port: a scheduler serves its state by HTTP also where it has no dashboard.
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": workers.dashboard},
        silence_logs=level,
        # A worker's memory is bounded by the pairs in its hand; what Dask's limit does is to kill.
        memory_limit=0,
        local_directory=str(scratch),
        preload="vmruntime.batch.undisturbed",
    )


def _configuration(level: int, retries: int) -> dict[str, Any]:
    """Dask's settings, for the time of the batch."""
    return {
        # A worker gets the pairs that it has threads for, no others: the rest waits for whoever
        # is free, and a worker's death counts against nobody else.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.allowed-failures": max(ALLOWED_FAILURES, retries),
        "distributed.worker.profile.enabled": False,
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": logging.getLevelName(
            level
        ).lower(),
    }


@contextmanager
def _log_level(level: int) -> Iterator[None]:
    """Dask's loggers of this process at another level."""
    loggers = [
        logging.getLogger(name) for name in ("distributed", "asyncio", "tornado", "dask_jobqueue")
    ]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(level)
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)
