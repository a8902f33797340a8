"""Progress of a build, and stopping one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vmexport.engine.build import build_engine
from vmexport.engine.options import EngineOptions
from vmexport.engine.progress import BuildProgress, interruptible

ALONE = "VM_TEST_ALONE"

alone = pytest.mark.skipif(
    os.environ.get(ALONE) != "1",
    reason="sends SIGINT, which libraries that other tests load may have taken: "
    "test_interrupts_in_a_process_of_their_own runs it",
)


@pytest.mark.skipif(os.environ.get(ALONE) == "1", reason="this is that process")
def test_interrupts_in_a_process_of_their_own() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", "interrupt"],
        env=os.environ | {ALONE: "1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_outer_phases_and_the_way_through_long_ones_are_said() -> None:
    said: list[str] = []
    progress = BuildProgress(said.append)
    progress.start("Building engine", None, 6)
    progress.start("Timing graph nodes", "Building engine", 200)
    assert all(progress.step("Timing graph nodes", number) for number in range(200))
    progress.finish("Timing graph nodes")
    progress.start("Short", "Building engine", 2)
    assert progress.step("Short", 0)
    assert said == ["building engine", *(f"timing graph nodes, {n} %" for n in (25, 50, 75))]


def test_a_cancelled_build_is_told_at_its_next_step() -> None:
    progress = BuildProgress(lambda _: None)
    assert progress.step("any", 0)
    progress.cancel()
    assert not progress.step("any", 1)


@alone
def test_an_interrupt_stops_the_build_and_waits_for_it() -> None:
    progress = BuildProgress(lambda _: None)
    ended = threading.Event()

    def build() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 30
        while progress.step("building", 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        interruptible(build, progress)
    assert ended.is_set()
    assert progress.cancelled


@alone
def test_a_second_interrupt_does_not_leave_the_build_behind() -> None:
    """The interpreter would end under TensorRT's hands: a core dump."""
    progress = BuildProgress(lambda _: None)
    again, ended = threading.Event(), threading.Event()

    def build() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while progress.step("building", 0):
            time.sleep(0.01)
        for _ in range(3):  # the main thread waits for the end now
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
        again.set()
        time.sleep(0.3)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        interruptible(build, progress)
    assert again.is_set()
    assert ended.is_set()


def test_a_build_of_rtx_says_how_far_it_is(artifacts, rtx) -> None:
    said: list[str] = []
    build_engine(artifacts["fp32"], rtx, EngineOptions(), said.append)
    assert "building engine" in said
    assert any(line.endswith("50 %") for line in said)


@alone
def test_a_build_of_rtx_is_interrupted(
    artifacts, rtx, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupt(line: str) -> None:
        if line == "building engine":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engine(artifacts["fp32"], rtx, EngineOptions(), interrupt)
    assert capfd.readouterr() == ("", "")
    # The toolkit is as good as new.
    assert build_engine(artifacts["fp32"], rtx, EngineOptions()).plan
