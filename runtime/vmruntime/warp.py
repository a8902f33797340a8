"""Warping a volume by a voxel displacement on the CPU, by the compiled kernels or in numpy.

The same function as the artifact's ``vxm::Warp3d``: displacement in voxels, identity added in
float32, linear or nearest, zeros outside. Label images and scans in their own intensities go
through here, so that they need not pass through the network's engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.kernels import native_kernels
from vmruntime.sampling import Sampler, linear_sampler, nearest_sampler, over_slabs

__all__ = ["warp_linear", "warp_nearest"]


def warp_linear(
    volume: NDArray[Any], displacement: NDArray[np.float32], *, threads: int = 1
) -> NDArray[np.float32]:
    """Trilinear ``moved(x) = volume(x + u(x))`` with zeros outside blended in.

    Parameters
    ----------
    volume
        ``(D, H, W)``, any real type.
    displacement
        ``(3, D', H', W')`` float32, voxels of `volume`'s grid.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(D', H', W')`` float32.
    """
    native = native_kernels()
    if native and native.takes(volume, "linear"):
        # float16 would come back as it came.
        volume = volume.astype(np.float32) if volume.dtype.name == "float16" else volume
        found: NDArray[np.float32] = native.warp(
            volume[np.newaxis], displacement, "linear", threads=threads
        )[0][0]
        return found
    return _warp(linear_sampler(volume), np.dtype(np.float32), displacement, threads)


def warp_nearest(
    volume: NDArray[Any], displacement: NDArray[np.float32], *, threads: int = 1
) -> NDArray[Any]:
    """Nearest-neighbour ``moved(x) = volume(x + u(x))``, 0 outside; halves go to the even voxel.

    Parameters
    ----------
    volume
        ``(D, H, W)``, any type; it is kept, and so is every value.
    displacement
        ``(3, D', H', W')`` float32, voxels of `volume`'s grid.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(D', H', W')`` of `volume`'s type.
    """
    native = native_kernels()
    if native and native.takes(volume, "nearest"):
        labels: NDArray[Any] = native.warp(
            volume[np.newaxis], displacement, "nearest", threads=threads
        )[0][0]
        return labels
    return _warp(nearest_sampler(volume), volume.dtype, displacement, threads)


def _warp(
    sample: Sampler, dtype: np.dtype[Any], displacement: NDArray[np.float32], threads: int
) -> NDArray[Any]:
    shape = displacement.shape[1:]
    moved = np.empty(shape, dtype)

    def one_slab(part: slice) -> None:
        coordinates = []
        for axis, size in enumerate(shape):
            index = np.arange(size, dtype=np.float32)[part if axis == 0 else slice(None)]
            along = [1, 1, 1]
            along[axis] = -1
            coordinates.append(displacement[axis, part] + index.reshape(along))
        moved[part] = sample(coordinates)

    over_slabs(one_slab, shape, threads)
    return moved
