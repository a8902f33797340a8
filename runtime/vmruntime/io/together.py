"""Reading files while something else is done: unpacking leaves Python's lock to others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from vmruntime.volume import Volume

__all__ = ["Background", "read_together"]

T = TypeVar("T")


class Background(Generic[T]):
    """A call in a thread of its own.

    A thread that nothing waits for but `result`: a signal ends the process even while a file is
    read that never comes (a pipe, a server that is gone), which a pool of threads would not allow.

    Parameters
    ----------
    call
        What to do.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """What the call gave, or raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]

    def _run(self) -> None:
        try:
            self._found.append(self._call())
        # Whatever it is, it is raised where the result is asked for.
        except BaseException as error:
            self._error = error


def read_together(readers: Sequence[Callable[[], Volume]], threads: int) -> list[Volume]:
    """Call every reader, all at a time; volumes in the order of their readers.

    Parameters
    ----------
    readers
        `read_scan` or `read_labels` with its file.
    threads
        1 calls one after the other.

    Raises
    ------
    ScanError
        What the first reader, in their order, raised of those that failed.
    """
    if threads < 2 or len(readers) < 2:
        return [read() for read in readers]
    reading = [Background(read) for read in readers]
    return [each.result() for each in reading]
