"""Looking up a volume at arbitrary places, and doing so slab by slab over a grid.

A sampler is made once for a volume and called with the coordinates of many points; a map from one
grid into another is evaluated once a slab, and any number of samplers share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Coordinates",
    "Sampler",
    "clipped",
    "linear_sampler",
    "nearest_sampler",
    "over_slabs",
    "vector_sampler",
]

Coordinates = Sequence[NDArray[np.float32]]
"""Voxel coordinates of points, one float32 array an axis, all of one shape.

What is NaN or infinite lies outside, as in tests/conformance/rows.py.
"""

Sampler = Callable[[Coordinates], NDArray[Any]]
"""Values at some points, in an array of their shape."""

VOXELS_PER_SLAB = 1 << 16
"""A quarter of a megabyte of float32 per temporary: coordinates and corners stay in the cache."""


def linear_sampler(volume: NDArray[Any]) -> Sampler:
    """Trilinear look-up of a ``(D, H, W)`` volume; zeros outside are blended in; float32 values."""
    sample = vector_sampler(volume[np.newaxis])

    def sample_one(coordinates: Coordinates) -> NDArray[np.float32]:
        values: NDArray[np.float32] = sample(coordinates)[0]
        return values

    return sample_one


def vector_sampler(field: NDArray[Any]) -> Sampler:
    """Trilinear look-up of all components of a ``(C, D, H, W)`` field at once.

    The values have the components first; zeros outside are blended in; float32.
    """
    padded = np.pad(field.astype(np.float32, copy=False), ((0, 0), (1, 2), (1, 2), (1, 2)))
    shape = field.shape[1:]
    plane, row = padded.shape[2] * padded.shape[3], padded.shape[3]
    flats = [component.ravel() for component in padded]

    def sample(coordinates: Coordinates) -> NDArray[np.float32]:
        lower, fraction = [], []
        for coordinate in _clipped(coordinates, shape):
            floor = np.floor(coordinate)
            fraction.append(np.subtract(coordinate, floor, out=coordinate))
            lower.append(floor.astype(np.int32))
        base = lower[0] * plane
        base += lower[1] * row
        base += lower[2]
        base += plane + row + 1
        values = np.empty((len(flats), *base.shape), np.float32)
        for flat, value in zip(flats, values, strict=True):
            value[...] = _trilinear(flat, base, fraction, plane, row)
        return values

    return sample


def _trilinear(
    flat: NDArray[np.float32],
    base: NDArray[np.int32],
    fraction: Coordinates,
    plane: int,
    row: int,
) -> NDArray[np.float32]:
    """Blend the eight corners whose first one is at `base`."""

    def along_last(offset: int) -> NDArray[np.float32]:
        # A view that starts later, instead of an index that is larger: an addition saved.
        near = flat[offset:].take(base)
        far: NDArray[np.float32] = flat[offset + 1 :].take(base)
        return _blend(near, far, fraction[2])

    def along_last_two(offset: int) -> NDArray[np.float32]:
        return _blend(along_last(offset), along_last(offset + row), fraction[1])

    return _blend(along_last_two(0), along_last_two(plane), fraction[0])


def nearest_sampler(volume: NDArray[Any]) -> Sampler:
    """Nearest-neighbour look-up of a ``(D, H, W)`` volume of any type, kept; 0 outside.

    Halves go to the even voxel, as in ONNX's GridSample.
    """
    padded = np.pad(volume, (1, 2))
    flat = padded.ravel()
    shape = volume.shape
    plane, row = padded.shape[1] * padded.shape[2], padded.shape[2]

    def sample(coordinates: Coordinates) -> NDArray[Any]:
        d, h, w = (
            np.rint(coordinate, out=coordinate).astype(np.int32) + 1
            for coordinate in _clipped(coordinates, shape)
        )
        found: NDArray[Any] = flat.take(d * plane + h * row + w)
        return found

    return sample


def over_slabs(one_slab: Callable[[slice], None], shape: Sequence[int], threads: int = 1) -> None:
    """Call a function for slabs of planes along the first axis of a grid of this shape."""
    planes = max(1, VOXELS_PER_SLAB // (shape[1] * shape[2]))
    slabs = [slice(i, min(i + planes, shape[0])) for i in range(0, shape[0], planes)]
    if threads == 1:
        for part in slabs:
            one_slab(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        # list() so that an exception in a thread is raised here.
        list(pool.map(one_slab, slabs))


def clipped(coordinate: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Coordinates no further than one voxel outside an axis of `size` voxels, in a new array.

    One voxel outside is as far as anything but zero can be blended in, so that clipping there
    and a border of zeros around the volume give exactly the zeros padding of a grid sample. What
    is not a number lies outside as well.
    """
    inside = np.clip(coordinate, -1, size)
    # Asked of the minimum, which NaN passes through: a sixth of the cost of asking every place.
    if np.isnan(inside.min()):
        inside[np.isnan(inside)] = -1
    return inside


def _clipped(coordinates: Coordinates, shape: Sequence[int]) -> list[NDArray[np.float32]]:
    """Coordinates of every axis, `clipped`."""
    return [clipped(x, size) for x, size in zip(coordinates, shape, strict=True)]


def _blend(
    near: NDArray[np.float32], far: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear interpolation in place of `far`."""
    far -= near
    far *= share
    far += near
    return far
