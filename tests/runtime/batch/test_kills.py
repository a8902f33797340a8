"""Killed workers, killed runs and Ctrl-C: nothing lost, nothing twice, nothing half."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
import pytest

from cohort_files import Cohort, hidden, rows_of
from command_line import environment, snapshot
from vmruntime.io.images import read_labels, read_scan

PAIRS = 10

MANY = 60
"""Pairs that nobody finishes before a signal arrives, on a machine that does much else."""

COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from vmruntime.cli.batch import main
main(prog_name="vm-batch")
"""
"""As a shell in the foreground starts it: one in the background has Ctrl-C ignored."""


@pytest.fixture
def started(
    tiny_artifact: Path, cohort: Cohort, tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """vm-batch with two workers on some pairs, in a process group of its own."""

    def start(pairs: int = PAIRS) -> subprocess.Popen[str]:
        table = cohort.table(tmp_path / "pairs.csv", pairs)
        arguments = [
            tiny_artifact, "--pairs", table, "-o", tmp_path / "out", "--workers", "2",
        ]  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
            start_new_session=True,
        )  # fmt: skip

    return start


def lines_until(stream: IO[str], count: int) -> None:
    """Wait until so many pairs are done."""
    for line in stream:
        count -= line.startswith("[")
        if not count:
            return
    pytest.fail("it ended too early")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Dask's worker processes of a run, each started by its nanny in the run itself."""
    found = []
    for child in psutil.Process(process.pid).children():
        # One that was killed may not be fetched yet, or just be gone.
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def alive(processes: list[psutil.Process]) -> list[int]:
    _, left = psutil.wait_procs(processes, timeout=15)
    return [one.pid for one in left if one.status() != psutil.STATUS_ZOMBIE]


def check_whole(out: Path) -> None:
    """Every pair is there once, with all its files, and nothing else."""
    rows = rows_of(out / "results.tsv")
    assert [row["id"] for row in rows] == [f"p{n:02}" for n in range(PAIRS)]
    assert {row["status"] for row in rows} == {"done"}
    for row in rows:
        folder = out / row["id"]
        assert len(list(folder.iterdir())) == 4
        read_scan(folder / f"{row['id']}_space-fixed_desc-moved_T1w.nii.gz")
        read_labels(folder / f"{row['id']}_space-fixed_dseg.nii.gz")
    assert hidden(out) == []


def test_two_killed_workers(started: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = started()
    assert process.stderr is not None
    killed = set()
    for _ in range(2):
        lines_until(process.stderr, 2)
        victim = next(one for one in workers_of(process) if one.pid not in killed)
        victim.kill()
        killed.add(victim.pid)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert len(killed) == 2
    assert "Traceback" not in stderr
    assert stdout.startswith(f"{PAIRS} pairs: {PAIRS} registered; ")
    check_whole(tmp_path / "out")


def test_a_killed_run_goes_on(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = started()
    assert process.stderr is not None
    lines_until(process.stderr, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=30)
    assert alive(children) == []
    assert not (out / "results.tsv").exists()
    # As if a worker had been in the middle of writing, whether one was or not.
    (out / "p09").mkdir(exist_ok=True)
    (out / "p09" / ".p09_space-fixed_dseg.nii.gz.abcdefgh.nii.gz").write_text("half")
    records = (out / ".vm-batch").glob("*.json")
    finished = {path.stem for path in records if '"status": "done"' in path.read_text()}
    assert 3 <= len(finished) < PAIRS
    before = snapshot(out)

    second = started()
    stdout, stderr = second.communicate(timeout=120)
    assert second.returncode == 0, stderr
    new = PAIRS - len(finished)
    assert stdout.startswith(f"{PAIRS} pairs: {new} registered, {len(finished)} done before; ")
    check_whole(out)
    after = snapshot(out)
    for name in finished:
        mine = {key for key in before if key.startswith(f"{name}/")}
        assert mine
        assert {key: after[key] for key in mine} == {key: before[key] for key in mine}


@pytest.mark.parametrize("how", ["ctrl-c", "terminate"])
def test_stopping_in_order(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, how: str
) -> None:
    """Ctrl-C in a terminal goes to the workers as well."""
    out = tmp_path / "out"
    process = started(MANY)
    assert process.stderr is not None
    lines_until(process.stderr, 2)
    children = psutil.Process(process.pid).children(recursive=True)
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=120)
    assert time.monotonic() - began < 100
    assert process.returncode == (1 if how == "ctrl-c" else 143), stdout + stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert alive(children) == []
    assert hidden(out) == []
    rows = rows_of(out / "results.tsv")
    states = [row["status"] for row in rows]
    assert len(rows) == MANY
    assert 2 <= states.count("done") < MANY
    assert set(states) <= {"done", "pending"}
    assert f"Stopped: {states.count('done')} of {MANY} pairs are done" in stderr
