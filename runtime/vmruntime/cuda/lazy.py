"""Results that stay on the device until someone looks at them."""

from __future__ import annotations

import weakref
from typing import Any

from numpy.typing import NDArray

from vmruntime.cuda.arena import Arena
from vmruntime.cuda.device import DeviceArray
from vmruntime.displacement import Displacement
from vmruntime.errors import BackendError
from vmruntime.grid import Grid
from vmruntime.volume import Volume

__all__ = ["DeviceDisplacement", "DeviceVolume", "Kept"]


class Kept:
    """An array on a device that comes down once, when it is first asked for.

    Its memory goes back to the arena then, or when nobody holds this object any more.

    Parameters
    ----------
    arena
        Where the array is from.
    array
        No longer the caller's own.
    """

    def __init__(self, arena: Arena, array: DeviceArray) -> None:
        self._arena = arena
        self._array: DeviceArray | None = array
        self._data: NDArray[Any] | None = None
        self._give_back = weakref.finalize(self, arena.give, array)
        self._give_back.atexit = False

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the array while it is on the device, else None."""
        array = self._array
        return None if array is None else array.shape

    def on_device(self, arena: Arena) -> DeviceArray | None:
        """The array, where it is still on this arena's device."""
        return self._array if arena is self._arena else None

    def fetch(self) -> NDArray[Any]:
        """The array on the host.

        Raises
        ------
        DeviceLostError
            The device failed before anyone asked.
        """
        with self._arena.lock:
            if self._array is not None:
                array = self._array
                self._data = self._arena.device.download(array.memory, array.shape, array.dtype)
                self._array = None
                self._give_back()
            assert self._data is not None  # one of the two is always there
            return self._data


class DeviceVolume(Volume):
    """A volume whose `data` come down from the device at first use.

    Parameters
    ----------
    kept
        ``(D, H, W)`` on the device.
    grid, header, name
        See `Volume`.
    """

    def __init__(self, kept: Kept, grid: Grid, header: Any = None, name: str = "volume") -> None:
        for field, value in (("kept", kept), ("grid", grid), ("header", header), ("name", name)):
            object.__setattr__(self, field, value)

    kept: Kept

    @property
    def data(self) -> NDArray[Any]:
        """See `Volume`."""
        return self.kept.fetch()

    def with_data(self, data: NDArray[Any]) -> Volume:
        """The same grid and header with other data."""
        return Volume(data, self.grid, self.header, self.name)


class DeviceDisplacement(Displacement):
    """A displacement whose `data` come down from the device at first use.

    Parameters
    ----------
    kept
        ``(3, D, H, W)`` float32 on the device.
    grid
        See `Displacement`.

    Raises
    ------
    BackendError
        The field does not fit the grid.
    """

    def __init__(self, kept: Kept, grid: Grid) -> None:
        if kept.shape != (3, *grid.shape):
            raise BackendError(
                f"a displacement on a grid of {grid.shape} has shape (3, D, H, W), not {kept.shape}"
            )
        object.__setattr__(self, "kept", kept)
        object.__setattr__(self, "grid", grid)

    kept: Kept

    @property
    def data(self) -> NDArray[Any]:
        """See `Displacement`."""
        return self.kept.fetch()
