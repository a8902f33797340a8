"""How long each stage of a registration took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stages"]


class Stages:
    """Wall-clock seconds of named stages, in the order in which they first ran.

    Parameters
    ----------
    announce
        Called with a stage's name as it begins, for progress.
    """

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._announce = announce

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a ``with`` block; the same name again adds to it."""
        if self._announce:
            self._announce(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
