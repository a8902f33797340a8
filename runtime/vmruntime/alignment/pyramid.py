"""One scan at several resolutions: block means, smoothing, one intensity scale, foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.foreground import FOREGROUND
from vmruntime.volume import Volume

__all__ = ["BRIGHTEST", "Level", "Pyramid", "coarse_step"]

# Step of the coarsest level for a field of view of a head; the next two have a half and a quarter.
COARSE_MM = 8.0
# A field of view that is smaller than this many coarse steps (a phantom, a mouse) gets finer ones.
COARSE_STEPS_ACROSS = 20

BRIGHTEST = 2.0
"""Scaled intensities are clipped here: vessels and fat must not outweigh a brain."""

LOW_PERCENTILE, HIGH_PERCENTILE = 10.0, 99.5
LEAST_SHARE_OF_MAXIMUM = 0.3

Block = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Level:
    """A scan at one resolution.

    Parameters
    ----------
    data
        ``(D, H, W)``, C-contiguous, any real type.
    affine
        ``(4, 4)`` float64: index to RAS+ mm.
    offset, gain
        The scaled intensity is ``(data - offset) * gain``, clipped to 0..`BRIGHTEST`.
    block
        Native voxels along each axis in one voxel of this level.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    offset: float
    gain: float
    block: Block

    def scaled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale and clip values of `data`, in place."""
        values -= np.float32(self.offset)
        values *= np.float32(self.gain)
        return np.clip(values, 0, np.float32(BRIGHTEST), out=values)


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A scan from coarse to native.

    Parameters
    ----------
    levels
        Steps of 8, 4 and 2 mm (see `coarse_step`), then native. The coarse ones hold scaled
        intensities; the native one is the scan's own memory.
    coarse_foreground, foreground
        Where the two coarsest levels are brighter than `FOREGROUND`, bool.
    usable
        Whether there are finite, varying values and some foreground.
    """

    levels: tuple[Level, Level, Level, Level]
    coarse_foreground: NDArray[np.bool_]
    foreground: NDArray[np.bool_]
    usable: bool

    @staticmethod
    def of(volume: Volume, coarse: float) -> Pyramid:
        """Build the pyramid of a scan.

        Parameters
        ----------
        volume
            Any orientation, spacing, size and real type.
        coarse
            Step of the coarsest level in mm.
        """
        # What overflows or is not a number in a scan is found below; it makes the scan unusable.
        with np.errstate(over="ignore", invalid="ignore"):
            return _build(volume, coarse)


def coarse_step(*volumes: Volume) -> float:
    """Step of the coarsest level that suits all scans, in mm: 8 for anything of a head's size."""
    # The middle one of the three extents: few slices of a head are still a head.
    extents = [float(np.median(np.array(v.grid.shape) * v.grid.voxel_size)) for v in volumes]
    return min(COARSE_MM, min(extents) / COARSE_STEPS_ACROSS)


def _build(volume: Volume, coarse: float) -> Pyramid:
    data, affine = _in_memory_order(volume.data, volume.grid.affine)
    block = (1, 1, 1)
    means: list[tuple[NDArray[np.float32], NDArray[np.float64], Block]] = []
    mean: NDArray[Any] = data
    where = affine
    for step in (coarse / 4, coarse / 2, coarse):
        size = np.sqrt((where[:3, :3] ** 2).sum(axis=0))
        d, h, w = (max(1, round(step / mm)) for mm in size)
        mean, where = _block_means(mean, (d, h, w)), where @ _block_affine((d, h, w))
        block = (block[0] * d, block[1] * h, block[2] * w)
        means.append((mean, where, block))

    offset, contrast = _intensity_range(mean)
    usable = bool(np.isfinite(contrast)) and contrast > 0
    gain = 1 / contrast if usable else 0.0
    native = Level(data, affine, offset, gain, (1, 1, 1))
    coarser: list[Level] = []
    for mean, where, block in means:
        scaled = Level(mean, where, offset, gain, block).scaled(mean)
        # The finest mean stays as sharp as the scan itself: smoothing it costs accuracy.
        coarser.append(Level(_smooth(scaled) if coarser else scaled, where, 0.0, 1.0, block))
    fine, middle, coarsest = coarser
    coarse_foreground = coarsest.data > FOREGROUND
    return Pyramid(
        (coarsest, middle, fine, native),
        coarse_foreground,
        middle.data > FOREGROUND,
        usable and bool(coarse_foreground.any()),
    )


def _intensity_range(mean: NDArray[Any]) -> tuple[float, float]:
    """Intensity of the background, and how far above it the foreground reaches."""
    low, high = np.percentile(mean, (LOW_PERCENTILE, HIGH_PERCENTILE))
    # Something so small in its field of view that it lies above the percentile altogether.
    brightest = float(mean.max())
    return float(low), max(float(high - low), LEAST_SHARE_OF_MAXIMUM * (brightest - float(low)))


def _in_memory_order(
    data: NDArray[Any], affine: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn the axes so that the data are C-contiguous, without a copy where that is possible.

    Files come with the first axis fastest; along the memory everything is several times faster.
    """
    order = sorted(range(3), key=lambda axis: -abs(data.strides[axis]))
    turned = data.transpose(order)
    ready = np.ascontiguousarray(turned, dtype=turned.dtype.newbyteorder("="))
    return ready, affine[:, [*order, 3]]


def _block_affine(block: Block) -> NDArray[np.float64]:
    """Index of a block to index of its centre: ``block * i + (block - 1) / 2``."""
    matrix = np.diag([*map(float, block), 1.0])
    matrix[:3, 3] = (np.array(block) - 1) / 2
    return matrix


def _block_means(data: NDArray[Any], block: Block) -> NDArray[np.float32]:
    """Mean over blocks of voxels; a block that reaches past the end repeats the last voxels."""
    shape = [-(-n // b) for n, b in zip(data.shape, block, strict=True)]
    means = np.empty(shape, np.float32)
    # Slab by slab, so that what lies between the three axes stays in the cache.
    for i in range(shape[0]):
        slab = data[i * block[0] : (i + 1) * block[0]]
        plane = slab[0].astype(np.float32)
        for other in slab[1:]:
            plane += other
        plane /= len(slab)
        rows = _mean_along(plane, 0, block[1])
        means[i] = _mean_along(rows, 1, block[2])
    return means


def _mean_along(plane: NDArray[np.float32], axis: int, block: int) -> NDArray[np.float32]:
    if block == 1:
        return plane
    missing = -plane.shape[axis] % block
    if missing:
        plane = np.pad(plane, [(0, missing if a == axis else 0) for a in range(2)], mode="edge")
    parts = [plane[k::block] if axis == 0 else plane[:, k::block] for k in range(block)]
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    total *= np.float32(1 / block)
    return total


def _smooth(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """[1 2 1] / 4 along each axis; the border repeats."""
    for axis in range(3):
        first = np.moveaxis(data, axis, 0)
        near = np.concatenate([first[:1], first, first[-1:]])
        data = np.moveaxis((near[:-2] + 2 * first + near[2:]) / 4, 0, axis)
    return np.ascontiguousarray(data, dtype=np.float32)
