"""Progress on stderr: one line that is written over, or a line for each step."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self

import click

__all__ = ["Bar"]


class Bar:
    """Says what is being done, for how long so far.

    Parameters
    ----------
    verbose
        A line for each step, also where stderr is no terminal.
    """

    def __init__(self, verbose: bool) -> None:
        self._lines = verbose
        self._live = sys.stderr.isatty() and not verbose
        self._start = time.monotonic()
        self._steps = 0

    def say(self, step: str) -> None:
        """A step begins."""
        self._steps += 1
        passed = int(time.monotonic() - self._start)
        text = f"[{passed // 60}:{passed % 60:02}] {self._steps:3} {step}"
        if self._lines:
            click.echo(text, err=True)
        elif self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[2K{text[:width]}", err=True, nl=False)

    def warn(self, text: str) -> None:
        """Something that has to be known."""
        self._clear()
        click.echo(f"Warning: {text}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[2K", err=True, nl=False)
