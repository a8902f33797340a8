"""Progress of a build, and stopping one.

A build runs in a thread of its own: the main thread waits, so that Ctrl-C and SIGTERM reach it at
once, and tells TensorRT to stop at the builder's next step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["BuildProgress", "interruptible", "open_monitor"]

T = TypeVar("T")

POLL_SECONDS = 0.1
"""A lock's wait without a limit is not interrupted by a signal on every platform."""

ENOUGH_STEPS = 10
"""Phases of fewer steps come and go by the thousand; only longer ones are worth a line."""


class BuildProgress:
    """Turns TensorRT's phases into lines, and remembers whether to stop.

    Its methods may be called from any thread.

    Parameters
    ----------
    announce
        Called with a line when an outer phase begins or a long one has come another quarter of its
        way.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._steps: dict[str, tuple[int, int]] = {}

    def cancel(self) -> None:
        """Have the build stop at its next step."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside another one or outermost."""
        with self._lock:
            self._steps[phase] = (steps, 0)
        if parent is None:
            self._announce(phase[:1].lower() + phase[1:])

    def step(self, phase: str, number: int) -> bool:
        """A step of a phase is done (its number counts from 0); whether to go on."""
        with self._lock:
            steps, quarter = self._steps.get(phase, (0, 0))
            reached = 4 * (number + 1) // steps if steps >= ENOUGH_STEPS else 0
            news = quarter < reached < 4
            if news:
                self._steps[phase] = (steps, reached)
        if news:
            self._announce(f"{phase[:1].lower()}{phase[1:]}, {25 * reached} %")
        return not self._stop.is_set()

    def finish(self, phase: str) -> None:
        """A phase ended."""
        with self._lock:
            self._steps.pop(phase, None)


def open_monitor(trt: Any, progress: BuildProgress) -> Any:
    """A progress monitor of TensorRT's that reports to `progress`.

    Parameters
    ----------
    trt
        The module ``tensorrt`` or ``tensorrt_rtx``.
    progress
        Where the phases go.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known only at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def interruptible(build: Callable[[], T], progress: BuildProgress) -> T:
    """Run a build in a thread, and stop it where this one is interrupted.

    Parameters
    ----------
    build
        Has to return soon after `progress` was cancelled, and to let other threads run.
    progress
        Cancelled by any exception here, KeyboardInterrupt and SystemExit included. Those that
        come while the cancelled build ends are passed over.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(build())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="engine-build", daemon=True)
    running = True
    try:
        try:
            thread.start()
        except RuntimeError:  # no thread to be had
            running = False
            raise
        while not wait([outcome], POLL_SECONDS).done:
            pass
    except BaseException:
        progress.cancel()
        if running:
            _await(outcome)
        raise
    return outcome.result()


def _await(outcome: Future[T]) -> None:
    """Wait for a cancelled build, however often that is interrupted.

    Without it a second Ctrl-C would end the interpreter under TensorRT's hands, with a core dump.
    """
    while not outcome.done():
        with suppress(KeyboardInterrupt, SystemExit):
            wait([outcome])
