"""Warping a volume by a voxel displacement on the CPU, in numpy.

The same function as the artifact's ``vxm::Warp3d``: displacement in voxels, identity added in
float32, linear or nearest, zeros outside. Label images and scans in their own intensities go
through here, so that they need not pass through the network's engine.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["warp_linear", "warp_nearest"]

# One slab of coordinates and corners should stay in a core's cache; half a megabyte of float32
# per temporary measured fastest.
VOXELS_PER_SLAB = 1 << 17

Slab = tuple[NDArray[Any], NDArray[np.float32], int, slice]


def warp_linear(
    volume: NDArray[Any], displacement: NDArray[np.float32], *, threads: int = 1
) -> NDArray[np.float32]:
    """Trilinear ``moved(x) = volume(x + u(x))`` with zeros outside blended in.

    Parameters
    ----------
    volume
        ``(D, H, W)``, any real type.
    displacement
        ``(3, D', H', W')`` float32, voxels of `volume`'s grid; finite.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(D', H', W')`` float32.
    """
    moved = np.empty(displacement.shape[1:], np.float32)
    padded = np.pad(volume.astype(np.float32, copy=False), (1, 2))
    flat = padded.ravel()
    plane, row = padded.shape[1] * padded.shape[2], padded.shape[2]

    def one_slab(part: slice) -> None:
        lower, fraction = [], []
        for _axis, coordinate in enumerate(_coordinates(displacement, volume.shape, part)):
            floor = np.floor(coordinate)
            fraction.append(np.subtract(coordinate, floor, out=coordinate))
            lower.append(floor.astype(np.int32))
        base = (lower[0] + 1) * plane + (lower[1] + 1) * row + (lower[2] + 1)

        def along_last(offset: int) -> NDArray[np.float32]:
            near = flat.take(base + offset)
            far: NDArray[np.float32] = flat.take(base + (offset + 1))
            far -= near
            far *= fraction[2]
            far += near
            return far

        def along_last_two(offset: int) -> NDArray[np.float32]:
            near, far = along_last(offset), along_last(offset + row)
            far -= near
            far *= fraction[1]
            far += near
            return far

        near, far = along_last_two(0), along_last_two(plane)
        far -= near
        far *= fraction[0]
        np.add(far, near, out=moved[part])

    _over_slabs(one_slab, displacement.shape[1:], threads)
    return moved


def warp_nearest(
    volume: NDArray[Any], displacement: NDArray[np.float32], *, threads: int = 1
) -> NDArray[Any]:
    """Nearest-neighbour ``moved(x) = volume(x + u(x))``, 0 outside; halves go to the even voxel.

    Parameters
    ----------
    volume
        ``(D, H, W)``, any type; it is kept, and so is every value.
    displacement
        ``(3, D', H', W')`` float32, voxels of `volume`'s grid; finite.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(D', H', W')`` of `volume`'s type.
    """
    moved = np.empty(displacement.shape[1:], volume.dtype)
    padded = np.pad(volume, (1, 2))
    flat = padded.ravel()
    shape = padded.shape

    def one_slab(part: slice) -> None:
        d, h, w = (
            np.rint(coordinate, out=coordinate).astype(np.int32) + 1
            for coordinate in _coordinates(displacement, volume.shape, part)
        )
        moved[part] = flat.take((d * shape[1] + h) * shape[2] + w)

    _over_slabs(one_slab, displacement.shape[1:], threads)
    return moved


def _coordinates(
    displacement: NDArray[np.float32], shape: tuple[int, ...], part: slice
) -> list[NDArray[np.float32]]:
    """Where the voxels of a slab look: x + u(x) per axis, clipped to one voxel outside.

    One voxel outside is as far as anything but zero can be blended in, so that clipping there
    and a border of zeros around the volume give exactly the zeros padding of a grid sample.
    """
    coordinates = []
    for axis, size in enumerate(shape):
        start = part.start if axis == 0 else 0
        index = np.arange(start, start + displacement[axis, part].shape[axis], dtype=np.float32)
        along = [1, 1, 1]
        along[axis] = -1
        coordinate = displacement[axis, part] + index.reshape(along)
        coordinates.append(np.clip(coordinate, -1, size, out=coordinate))
    return coordinates


def _over_slabs(one_slab: Callable[[slice], None], shape: tuple[int, ...], threads: int) -> None:
    """Run a function over slabs of planes along the first axis."""
    planes = max(1, VOXELS_PER_SLAB // (shape[1] * shape[2]))
    slabs = [slice(i, min(i + planes, shape[0])) for i in range(0, shape[0], planes)]
    if threads == 1:
        for part in slabs:
            one_slab(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        # list() so that an exception in a thread is raised here.
        list(pool.map(one_slab, slabs))
