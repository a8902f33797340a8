"""Integrating and resizing vector fields, in numpy: what the tail of a model does.

The reference that `vmruntime.native` is measured by, and the way where it is not built.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vmruntime.sampling import over_slabs, vector_sampler

__all__ = ["integrate", "resize"]

Field = NDArray[np.float32]
"""``(3, D, H, W)``, voxels of its own grid."""


def integrate(velocity: Field, steps: int, threads: int = 1) -> Field:
    """Scaling and squaring (Arsigny et al., MICCAI 2006).

    Parameters
    ----------
    velocity
        ``(3, D, H, W)`` float32, voxels.
    steps
        Number of squarings.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        The displacement ``exp(velocity)``, ``(3, D, H, W)`` float32, voxels.
    """
    field = velocity / np.float32(2**steps)
    for _ in range(steps):
        field = _squared(field, threads)
    return field


def resize(field: Field, factor: Fraction) -> Field:
    """Resample a field trilinearly, corners on corners, and scale its values by the same factor.

    Parameters
    ----------
    field
        ``(3, D, H, W)`` float32, voxels.
    factor
        New size over old size; the new sizes are rounded down.

    Returns
    -------
    ndarray
        ``(3, D f, H f, W f)`` float32, voxels of the new grid.
    """
    if factor == 1:
        return field
    for axis in range(1, 4):
        size = field.shape[axis]
        wanted = size * factor.numerator // factor.denominator
        places = np.arange(wanted) * ((size - 1) / max(wanted - 1, 1))
        lower = np.minimum(places.astype(np.int64), max(size - 2, 0))
        upper = np.minimum(lower + 1, size - 1)
        shape = [1] * 4
        shape[axis] = wanted
        share = (places - lower).astype(np.float32).reshape(shape)
        near, far = field.take(lower, axis), field.take(upper, axis)
        field = near + (far - near) * share
    scaled: Field = field * np.float32(factor)
    return scaled


def _squared(field: Field, threads: int) -> Field:
    """``u(x) + u(x + u(x))``."""
    sample = vector_sampler(field)
    shape = field.shape[1:]
    axes = np.ix_(*(np.arange(size, dtype=np.float32) for size in shape))
    result = np.empty_like(field)

    def one_slab(part: slice) -> None:
        here = (axes[0][part], axes[1], axes[2])
        places = [along + index for along, index in zip(field[:, part], here, strict=True)]
        np.add(field[:, part], sample(places), out=result[:, part])

    over_slabs(one_slab, shape, threads)
    return result
