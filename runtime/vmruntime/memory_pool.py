"""Large arrays whose memory is used again when they are dropped.

Memory that is fresh from the system costs more than what is written there: each page of it is
cleared and mapped at first touch. Page-locking it for a GPU costs more still.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["MemoryPool", "empty", "release_memory"]

PAGE = 4096

Bytes = NDArray[np.uint8]


class _Loan:
    """What an array on lent memory rests on: when the last view of it is gone, so is this."""

    def __init__(self, memory: Bytes) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__


class MemoryPool:
    """Lends arrays, and lends their memory again.

    The memory is numpy's own: an array that outlives the pool stays what it is.

    Parameters
    ----------
    register, unregister
        Called with memory that is new, and once with each piece that the pool lets go of.
    most_idle
        Bytes that may lie idle; what comes back beyond that is dropped. None for no limit.
    """

    def __init__(
        self,
        register: Callable[[Bytes], None] = lambda memory: None,
        unregister: Callable[[Bytes], None] = lambda memory: None,
        most_idle: int | None = None,
    ) -> None:
        self._register = register
        self._unregister = unregister
        self._most_idle = most_idle
        self._lock = threading.Lock()
        self._free: dict[int, list[Bytes]] = {}
        self._all: dict[int, Bytes] = {}
        self._closed = False

    @property
    def nbytes(self) -> int:
        """All that the pool knows of, lent or not."""
        return sum(memory.nbytes for memory in list(self._all.values()))

    @property
    def nbytes_idle(self) -> int:
        """What of it is not lent."""
        return sum(size * len(pieces) for size, pieces in list(self._free.items()))

    def lend(self, nbytes: int) -> Bytes:
        """Give an array of at least so many bytes, uint8; it comes back when it is dropped."""
        size = -(-max(nbytes, 1) // PAGE) * PAGE
        with self._lock:
            spare = self._free.get(size)
            memory = spare.pop() if spare else None
        if memory is None:
            memory = _aligned(size)
            self._register(memory)
            with self._lock:
                self._all[memory.ctypes.data] = memory
        loan = _Loan(memory)
        # Not a method of the loan, which is gone by then.
        weakref.finalize(loan, self._take_back, memory).atexit = False
        return np.asarray(loan)

    def trim(self) -> None:
        """Let go of what is idle."""
        with self._lock:
            pieces = [memory for some in self._free.values() for memory in some]
            self._free.clear()
        for memory in pieces:
            self._drop(memory)

    def close(self) -> None:
        """Let go of everything; what is lent stays with those who hold it."""
        with self._lock:
            self._closed = True
            everything = list(self._all.values())
            self._all.clear()
            self._free.clear()
        for memory in everything:
            self._unregister(memory)

    def _take_back(self, memory: Bytes) -> None:
        # No lock: this may run inside `lend`, whenever Python collects. One append is atomic.
        if self._closed:
            return
        if self._most_idle is not None and self.nbytes_idle + memory.nbytes > self._most_idle:
            self._drop(memory)
        else:
            self._free.setdefault(memory.nbytes, []).append(memory)

    def _drop(self, memory: Bytes) -> None:
        if self._all.pop(memory.ctypes.data, None) is not None:
            self._unregister(memory)


def _aligned(size: int) -> Bytes:
    whole = np.empty(size + PAGE, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + size]


LARGE = 1 << 20
"""Bytes from which on fresh memory costs more than keeping some."""

_RESULTS = MemoryPool(most_idle=256 << 20)
"""Where large results lie: a registration's are as large as the last one's."""


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """An array with undefined contents; a large one lies where a dropped one was, if any."""
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if nbytes < LARGE:
        return np.empty(shape, kind)
    return _RESULTS.lend(nbytes)[:nbytes].view(kind).reshape(tuple(shape))


def release_memory() -> None:
    """Give the memory of arrays of `empty` that were dropped back to the system."""
    _RESULTS.trim()
