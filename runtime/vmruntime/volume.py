"""Data on a grid: scans and label images."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from vmruntime.errors import GridMismatchError, ScanError
from vmruntime.grid import Grid

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or a label image.

    Parameters
    ----------
    data
        ``(D, H, W)``; float32 for a scan, an integer type for labels.
    grid
        Where the voxels lie.
    header
        NIfTI header whose codes, units and descriptions a saved file takes over, or None.
    name
        What messages call this volume, usually its path.
    stored
        The same values as `data` in a smaller integer type, such as their file's, or None: a GPU
        is sent these.
    """

    data: NDArray[Any]
    grid: Grid
    header: Any = None
    name: str = "volume"
    stored: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise ScanError(
                f"{self.name}: data of shape {self.data.shape} do not fit "
                f"a grid of {self.grid.shape}"
            )

    def with_data(self, data: NDArray[Any]) -> Volume:
        """The same grid and header with other data."""
        return replace(self, data=data, stored=None)

    def require_grid(self, grid: Grid, role: str) -> None:
        """Raise `GridMismatchError` where this does not lie on the grid of the `role` scan."""
        if not self.grid.matches(grid):
            away = ""
            if self.grid.shape == grid.shape:
                away = f", up to {self.grid.offset_mm(grid):.3g} mm away"
            raise GridMismatchError(
                f"{self.name} lies on {self.grid.describe()}, not on the {role} scan's grid "
                f"{grid.describe()}{away}; resample it onto the {role} scan first"
            )

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write as NIfTI (``.nii`` or ``.nii.gz``), whole or not at all.

        Parameters
        ----------
        path
            Where to; an existing file is replaced only with `force`.

        Raises
        ------
        OutputError
            The file exists, has another suffix or cannot be written.
        """
        from vmruntime.io.nifti import write_volume
        from vmruntime.io.outputs import Outputs

        with Outputs(force=force) as outputs:
            write_volume(outputs.image(path), self)
