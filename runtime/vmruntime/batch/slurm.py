"""Workers as SLURM jobs, by dask-jobqueue."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmruntime.batch.desk import IN_HAND
from vmruntime.batch.errors import BatchError
from vmruntime.errors import MissingDependencyError, one_line

__all__ = ["job_script", "read_slurm_options", "slurm_cluster"]

OWN = ("n_workers", "asynchronous", "loop", "scheduler_options", "silence_logs")
"""Options that vm-batch sets itself."""


def read_slurm_options(path: Path) -> dict[str, Any]:
    """Read options of dask-jobqueue's ``SLURMCluster``.

    Parameters
    ----------
    path
        JSON or YAML: one mapping of the constructor's arguments, such as ``queue``, ``account``,
        ``cores``, ``memory``, ``walltime``, ``job_extra_directives``, ``job_script_prologue``.
        ``cores`` and ``memory`` are for a job, which runs one worker (``processes: 1``).

    Raises
    ------
    BatchError
        It cannot be read, is no mapping, lacks ``cores`` or ``memory``, or sets what vm-batch does.
    MissingDependencyError
        dask-jobqueue is not installed.
    """
    try:
        import yaml  # type: ignore[import-untyped]

        _dask_jobqueue()
    except ImportError:
        raise MissingDependencyError(
            "--slurm needs dask-jobqueue; pip install 'voxelmorph-deploy[batch]'"
        ) from None
    try:
        text = path.read_text(encoding="utf-8")
        options = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise BatchError(f"{path}: no such file; give options of SLURMCluster") from None
    except OSError as error:
        raise BatchError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, yaml.YAMLError) as error:
        raise BatchError(f"{path}: is neither JSON nor YAML ({one_line(error)})") from error
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise BatchError(f"{path}: is no mapping of SLURMCluster's options; see docs/batch.md")
    for name in ("cores", "memory"):
        if name not in options:
            raise BatchError(f"{path}: has no {name!r}; say what one job gets")
    for name in OWN:
        if name in options:
            raise BatchError(f"{path}: sets {name!r}, which vm-batch does; leave it out")
    processes = options.get("processes", 1)
    if not isinstance(options["cores"], int) or options["cores"] < 1 or processes != 1:
        raise BatchError(f"{path}: cores must be a whole number, and processes 1 or left out")
    return options


def slurm_cluster(options: Mapping[str, Any], jobs: int, *, dashboard: bool = False) -> Any:
    """A cluster of `jobs` jobs, to be closed; its scheduler runs here.

    Raises
    ------
    ValueError, TypeError
        dask-jobqueue does not take the options.
    """
    cluster = _dask_jobqueue().SLURMCluster
    extra = [*options.get("worker_extra_args", ()), "--nthreads", str(IN_HAND)]
    return cluster(
        **{**options, "processes": 1, "worker_extra_args": extra},
        n_workers=jobs,
        scheduler_options={"dashboard_address": ":0", "dashboard": dashboard},
    )


def _dask_jobqueue() -> Any:
    """The package; it takes Ctrl-C for itself as it is imported, which is put back."""
    own = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if signal.getsignal(signal.SIGINT) is not own:
        signal.signal(signal.SIGINT, own)
    return dask_jobqueue


def job_script(options: Mapping[str, Any]) -> str:
    """The script that one job would run.

    Its scheduler's address is that of a scheduler that was started for this purpose only.

    Raises
    ------
    BatchError
        dask-jobqueue does not take the options.
    """
    try:
        with slurm_cluster(options, 0) as cluster:
            return str(cluster.job_script())
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise BatchError(
            f"dask-jobqueue does not take the options of --slurm ({one_line(error)}); "
            "see docs/batch.md"
        ) from error
