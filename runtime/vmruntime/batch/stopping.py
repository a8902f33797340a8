"""Ctrl-C and SIGTERM at places where they do no harm, and are not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["stops_between"]


@contextmanager
def stops_between(wake: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Let Ctrl-C and SIGTERM take effect where the function that this gives is called.

    What their handlers raise while an object is finalized is printed and forgotten, and Dask's
    futures are finalized all the time. A second signal takes effect at once.

    Parameters
    ----------
    wake
        Called when a signal comes, wherever the program is: ends what it may be waiting for.

    Yields
    ------
    callable
        Does what the signal's handler does, if one came. Called once more at the block's end.
    """
    asked: list[int] = []
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            handlers[number](number, frame)
        asked.append(number)
        wake()

    def check() -> None:
        if asked:
            handlers[asked[0]](asked[0], None)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # not ignored, and not the system's
                handlers[number] = handler
                signal.signal(number, note)
    try:
        yield check
        check()
    finally:
        for taken, handler in handlers.items():
            signal.signal(taken, handler)
