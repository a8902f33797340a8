"""Workers that the user starts, and SLURM's without a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohort_files import Cohort, rows_of
from command_line import environment

Run = Callable[..., subprocess.CompletedProcess[str]]

DASK = [sys.executable, "-m", "dask"]


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in a file, ended at the end."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment())
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """``dask scheduler`` and two ``dask worker``, as docs/batch.md says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        command = [*DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port)]
        stack.enter_context(running([*command, "--no-dashboard"], tmp_path / "scheduler.log"))
        for number in range(2):
            command = [*DASK, "worker", address, "--nthreads", "2", "--no-dashboard"]
            command += ["--local-directory", str(tmp_path)]
            stack.enter_context(running(command, tmp_path / f"worker{number}.log"))
        yield address


def test_the_users_own_workers(
    scheduler: str, vm_batch: Run, cohort: Cohort, tmp_path: Path
) -> None:
    table = cohort.table(tmp_path / "pairs.csv", 6)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        logs = [tmp_path / f"worker{number}.log" for number in range(2)]
        if all("Registered to" in log.read_text() for log in logs):
            break
        time.sleep(0.2)
    done = vm_batch("--pairs", table, "--scheduler", scheduler)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 pairs: 6 registered; ")
    workers = {row["worker"] for row in rows_of(tmp_path / "out" / "results.tsv")}
    assert 1 <= len(workers) <= 2
    assert all(worker.startswith(f"{socket.gethostname()}/127.0.0.1:") for worker in workers)
    # They go on living, without the model, for whoever comes next.
    assert "Removing Worker plugin" in (tmp_path / "worker0.log").read_text()
    again = vm_batch("--pairs", table, "--scheduler", scheduler, "--intensity", "none")
    assert again.stdout.startswith("6 pairs: 6 registered; ")


def test_a_scheduler_that_is_not_there(vm_batch: Run, cohort: Cohort, tmp_path: Path) -> None:
    table = cohort.table(tmp_path / "pairs.csv", 1)
    done = vm_batch("--pairs", table, "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: no Dask workers on tcp://127.0.0.1:9: ")


def slurm_options(folder: Path, **more: object) -> Path:
    path = folder / "slurm.json"
    options = {
        "queue": "short",
        "account": "lab",
        "cores": 2,
        "memory": "4GB",
        "walltime": "01:30:00",
        "interface": "lo",
        "log_directory": str(folder / "logs"),
        "job_extra_directives": ["--gres=gpu:1"],
        "job_script_prologue": ["export FROM_PROLOGUE=yes"],
    }
    path.write_text(json.dumps(options | more))
    return path


def test_the_job_script(vm_batch: Run, cohort: Cohort, tmp_path: Path) -> None:
    table = cohort.table(tmp_path / "pairs.csv", 3)
    done = vm_batch(
        "--pairs", table, "--slurm", slurm_options(tmp_path), "--workers", 5, "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "3 pairs, 0 done already, 3 to do:"
    assert "5 jobs of:" in lines
    for line in (
        "#SBATCH -p short", "#SBATCH -A lab", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=4G",
        "#SBATCH -t 01:30:00", "#SBATCH --gres=gpu:1", "export FROM_PROLOGUE=yes",
    ):  # fmt: skip
        assert line in lines
    (worker,) = (line for line in lines if "distributed.cli.dask_worker" in line)
    assert worker.split()[0] == sys.executable
    assert worker.endswith("--nthreads 2 --interface lo")
    assert "--nanny" in worker
    assert not (tmp_path / "out").exists()
    script = tmp_path / "job.sh"
    script.write_text("\n".join(lines[lines.index("5 jobs of:") + 2 :]))
    subprocess.run(["bash", "-n", script], check=True)


SBATCH = """#!/bin/bash
cp "$1" {folder}/job.$$.sh
setsid bash {folder}/job.$$.sh > {folder}/job.$$.log 2>&1 &
echo $! >> {folder}/jobs
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/bash\nfor job in "$@"; do kill -- -$job 2>/dev/null; done; exit 0\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands ``sbatch`` and ``scancel`` that run a job's script here, as a node would."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH.format(folder=folder)), ("scancel", SCANCEL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield folder
    for job in (folder / "jobs").read_text().split() if (folder / "jobs").exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(job), signal.SIGKILL)


def test_the_jobs_themselves(slurm: Path, vm_batch: Run, cohort: Cohort, tmp_path: Path) -> None:
    table = cohort.table(tmp_path / "pairs.csv", 4)
    options = slurm_options(tmp_path, job_extra_directives=[])
    done = vm_batch("--pairs", table, "--slurm", options, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 pairs: 4 registered; ")
    workers = {row["worker"].split("/")[1] for row in rows_of(tmp_path / "out" / "results.tsv")}
    assert workers <= {"SLURMCluster-0", "SLURMCluster-1"}
    assert len(list(slurm.glob("job.*.sh"))) == 2
    deadline = time.monotonic() + 30
    jobs = [int(job) for job in (slurm / "jobs").read_text().split()]
    while any(Path(f"/proc/{job}").exists() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{job}").exists() for job in jobs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no mapping"),
        ("- a\n", "is no mapping"),
        ("a: [", "is neither JSON nor YAML"),
        ("cores: 4\n", "has no 'memory'"),
        ("memory: 4GB\n", "has no 'cores'"),
        ("cores: many\nmemory: 4GB\n", "cores must be a whole number"),
        ("cores: 4\nmemory: 4GB\nprocesses: 2\n", "processes 1"),
        ("cores: 4\nmemory: 4GB\nn_workers: 2\n", "sets 'n_workers', which vm-batch does"),
    ],
)
def test_options_that_are_none(tmp_path: Path, text: str, says: str) -> None:
    from vmruntime.batch.errors import BatchError
    from vmruntime.batch.slurm import read_slurm_options

    path = tmp_path / "slurm.yaml"
    path.write_text(text)
    with pytest.raises(BatchError) as raised:
        read_slurm_options(path)
    assert says in str(raised.value)
    with pytest.raises(BatchError, match="no such file"):
        read_slurm_options(tmp_path / "none.yaml")


def test_an_option_that_slurmcluster_does_not_know(
    vm_batch: Run, cohort: Cohort, tmp_path: Path
) -> None:
    table = cohort.table(tmp_path / "pairs.csv", 1)
    options = slurm_options(tmp_path, partition="short")
    for more in ((), ("--dry-run",)):
        done = vm_batch("--pairs", table, "--slurm", options, *more)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        assert "partition" in line
