"""From what a U-Net predicts to the displacement, as `Tail` says."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vmruntime.kernels import native_kernels
from vmruntime.unet.field import integrate, resize
from vmruntime.unet.tail import Tail
from vmruntime.warp import warp_linear

__all__ = ["displacement_of", "moved_by"]


def displacement_of(
    prediction: NDArray[np.float32], tail: Tail, threads: int = 1
) -> NDArray[np.float32]:
    """The displacement that a prediction stands for.

    Parameters
    ----------
    prediction
        ``(3, d, h, w)`` float32, voxels of its own grid.
    tail
        How the model goes on from there.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(3, D, H, W)`` float32, voxels of the model's grid.
    """
    field = _resized(prediction, tail.before, threads)
    native = native_kernels()
    if tail.int_steps and native:
        field = native.integrate(field, tail.int_steps, threads=threads)
    elif tail.int_steps:
        field = integrate(field, tail.int_steps, threads)
    return _resized(field, tail.after, threads)


def moved_by(
    moving: NDArray[np.float32], displacement: NDArray[np.float32], threads: int = 1
) -> NDArray[np.float32]:
    """Each channel of a scan ``(C, D, H, W)`` moved by ``(3, D, H, W)`` voxels."""
    native = native_kernels()
    if native:
        return native.warp(moving, displacement, threads=threads)[0]
    return np.stack([warp_linear(channel, displacement, threads=threads) for channel in moving])


def _resized(field: NDArray[np.float32], factor: Fraction, threads: int) -> NDArray[np.float32]:
    native = native_kernels()
    if factor == 1 or native is None:
        return resize(field, factor)
    shape = [size * factor.numerator // factor.denominator for size in field.shape[1:]]
    return native.resize(field, shape, float(factor), threads=threads)
