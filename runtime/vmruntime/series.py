"""Several volumes on one grid, such as a functional or diffusion scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.chain import Chain, ChainInterpolation
from vmruntime.errors import ScanError
from vmruntime.grid import Grid
from vmruntime.volume import Volume

__all__ = ["Series"]


@dataclass(frozen=True, eq=False)
class Series:
    """One or several volumes on one grid.

    Parameters
    ----------
    data
        ``(D, H, W, T)``; T is 1 for a single image.
    grid
        Where the voxels of every volume lie.
    header
        Header of the file it came from: time step, units and codes of a saved file; or None.
    name
        What messages call it.
    """

    data: NDArray[Any]
    grid: Grid
    header: Any = None
    name: str = "series"

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[:3] != self.grid.shape or not self.data.shape[3]:
            raise ScanError(
                f"{self.name}: data of shape {self.data.shape} are no volumes on a grid of "
                f"{self.grid.shape}"
            )

    def volume(self, number: int) -> Volume:
        """One of the volumes, counted from 0."""
        return Volume(self.data[..., number], self.grid, self.header, self.name)

    def resample(
        self,
        chain: Chain,
        reference: Grid,
        interpolation: ChainInterpolation = "linear",
        *,
        threads: int = 1,
    ) -> tuple[Series, Series | None]:
        """Carry every volume onto a grid of the fixed world, one after the other.

        Parameters
        ----------
        chain
            Fixed to moving.
        reference
            The grid to fill.
        interpolation
            See `Chain.resample`.
        threads
            Number of threads to use.

        Returns
        -------
        Series, Series or None
            The result; and with ``"label"`` the weight of each label that won, float32.
        """
        shape = (*reference.shape, self.data.shape[3])
        vote = interpolation == "label"
        keeps_type = vote or interpolation == "nearest"
        moved = np.empty(shape, self.data.dtype if keeps_type else np.float32, order="F")
        confidence = np.empty(shape if vote else 0, np.float32, order="F")
        for number in range(shape[3]):
            volume = self.volume(number)
            if vote:
                one, sure = chain.resample_labels(volume, reference, threads=threads)
                confidence[..., number] = sure.data
            else:
                one = chain.resample(volume, reference, interpolation, threads=threads)
            moved[..., number] = one.data
        result = Series(moved, reference, self.header, self.name)
        if not vote:
            return result, None
        return result, Series(confidence, reference, self.header, f"confidence of {self.name}")
