"""How far a batch has come, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TextIO

__all__ = ["Progress", "duration"]


class Progress:
    """Counts pairs and says rate and time left.

    On a terminal it rewrites one line; elsewhere it writes a line for each pair.

    Parameters
    ----------
    total
        Pairs that are to be done now.
    stream
        Where to; None for stderr.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total = total
        self.done = 0
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._began = time.monotonic()
        self._first: float | None = None

    def start(self) -> None:
        """Workers are there: rates count from here."""
        self._began = time.monotonic()

    def step(self, name: str, failed: bool = False) -> None:
        """One more pair is done."""
        self.done += 1
        state = " failed" if failed else ""
        width = len(str(self.total))
        self._write(f"[{self.done:>{width}}/{self.total}] {name}{state}{self._rate()}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write("")
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clear the line that is rewritten."""
        if self._terminal:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _rate(self) -> str:
        elapsed = time.monotonic() - self._began
        if elapsed <= 0:
            return ""
        left = elapsed / self.done * (self.total - self.done)
        return f"  {self.done / elapsed * 60:.1f} pairs/min, {duration(left)} left"

    def _write(self, text: str) -> None:
        if self._terminal:
            self._stream.write(f"\r\033[K{text}")
        elif text:
            self._stream.write(f"{text}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds as people say them: ``42 s``, ``3:20 min``, ``2:05 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
