"""Device memory that is allocated once and used again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import DTypeLike

from vmruntime.cuda.device import Device, DeviceArray, Memory
from vmruntime.errors import DeviceMemoryError

__all__ = ["Arena", "Scope"]

SMALLEST = 512
"""Bytes; sizes are multiples of it, and every address is aligned to it."""

STEPS = 4
"""Sizes between two powers of two: a piece is at most a quarter larger than what it is for."""

PATIENCE = 2
"""Calls of `Arena.trim` without use after which a piece goes back to the device."""


class Arena:
    """The pieces of a device's memory that one Registrar works in.

    Pieces come in a few sizes, so that scans of slightly different shapes share them. `take` and
    `trim` are for the thread that holds `lock`; `give` is for any, even while Python collects.

    Parameters
    ----------
    device
        Where the memory is.
    relieve
        Called when memory is short and nothing of this arena is idle any more, to give back what
        can be done without.
    """

    def __init__(self, device: Device, relieve: Callable[[], None] = lambda: None) -> None:
        self.device = device
        self.lock = threading.RLock()
        self._relieve = relieve
        self._idle: dict[int, list[tuple[Memory, int]]] = {}
        self._given: deque[Memory] = deque()
        self._taken: dict[int, Memory] = {}
        self._age = 0

    @property
    def nbytes(self) -> int:
        """All that the arena has from the device, in bytes."""
        self._collect()
        idle = sum(memory.nbytes for pieces in self._idle.values() for memory, _ in pieces)
        return idle + self.nbytes_taken

    @property
    def nbytes_taken(self) -> int:
        """What of it is in use, in bytes."""
        self._collect()
        return sum(memory.nbytes for memory in self._taken.values())

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """An array with undefined contents.

        Raises
        ------
        DeviceMemoryError
            Memory is short even after everything idle went back.
        """
        kind = np.dtype(dtype)
        size = _size_class(int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
        self._collect()
        if pieces := self._idle.get(size):
            memory, _ = pieces.pop()
        else:
            memory = self._allocate(size)
        self._taken[memory.address] = memory
        return DeviceArray(memory, tuple(int(n) for n in shape), kind)

    def give(self, array: DeviceArray) -> None:
        """Take an array back; whatever is on the stream still finds it as it was."""
        self._given.append(array.memory)

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """A ``with`` block that gives back what was taken in it, however it ends."""
        scope = Scope(self)
        try:
            yield scope
        finally:
            scope.end()

    def trim(self) -> None:
        """Free what was idle over the last calls: scans of another size were here then."""
        self._collect()
        self._age += 1
        for size, pieces in self._idle.items():
            old = [memory for memory, age in pieces if self._age - age > PATIENCE]
            self._idle[size] = [(m, age) for m, age in pieces if self._age - age <= PATIENCE]
            for memory in old:
                self.device.free(memory)

    def close(self) -> None:
        """Free everything, what is taken too."""
        self._free_idle()
        for memory in self._taken.values():
            self.device.free(memory)
        self._taken.clear()

    def _allocate(self, size: int) -> Memory:
        for make_room in (self._free_idle, self._free_more):
            try:
                return self.device.allocate(size)
            except DeviceMemoryError:
                make_room()
        return self.device.allocate(size)

    def _free_idle(self) -> None:
        self._collect()
        pieces = [memory for some in self._idle.values() for memory, _ in some]
        self._idle.clear()
        for memory in pieces:
            self.device.free(memory)

    def _free_more(self) -> None:
        self._relieve()
        self._free_idle()

    def _collect(self) -> None:
        """Sort in what was given back; nowhere else, so that `give` needs no lock."""
        while self._given:
            memory = self._given.popleft()
            if self._taken.pop(memory.address, None) is not None:
                self._idle.setdefault(memory.nbytes, []).append((memory, self._age))


class Scope:
    """Arrays of an arena that are given back together.

    Parameters
    ----------
    arena
        Where they come from.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._arrays: list[DeviceArray] = []

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """As `Arena.take`."""
        array = self._arena.take(shape, dtype)
        self._arrays.append(array)
        return array

    def keep(self, array: DeviceArray) -> DeviceArray:
        """Leave an array of this scope out of it: who holds it now gives it back."""
        self._arrays.remove(array)
        return array

    def end(self) -> None:
        """Give everything back."""
        while self._arrays:
            self._arena.give(self._arrays.pop())


def _size_class(nbytes: int) -> int:
    """The next larger size that pieces come in."""
    if nbytes <= SMALLEST * STEPS:
        return -(-max(nbytes, 1) // SMALLEST) * SMALLEST
    step = 1 << ((nbytes - 1).bit_length() - 3)
    return -(-nbytes // step) * step
