"""Identities that make the U-Net's convolutions cheaper; exact in real arithmetic.

The weights are summed in float64 and rounded once, so that the results differ from the original's
by the rounding of float32 (some 1e-5 voxel).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["grouped_weights", "upsampling_weights"]

# Row t: which taps of a 3-wide kernel over a grid that was doubled by repetition read the coarse
# voxel i, for the fine voxel 2 i - 1 + t. Voxel 2 i reads i - 1, i, i; voxel 2 i + 1 reads i, i,
# i + 1; so voxel i is read by 2 i - 1 through tap 2, by 2 i through 1 and 2, and so on.
TAPS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)


def upsampling_weights(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Kernel of the transposed convolution that equals doubling and then convolving.

    A 3x3x3 convolution (padding 1) of a grid doubled by repetition reads every coarse voxel
    several times. Added up beforehand, 8 products instead of 27 remain for every fine voxel, and
    the doubled grid is never made.

    Parameters
    ----------
    weights
        ``(out, in, 3, 3, 3)`` of the convolution.

    Returns
    -------
    ndarray
        ``(in, out, 4, 4, 4)`` float32, for stride 2 and padding 1.
    """
    summed = np.einsum("ax,by,cz,oixyz->ioabc", TAPS, TAPS, TAPS, weights.astype(np.float64))
    return np.ascontiguousarray(summed, np.float32)


def grouped_weights(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Kernel that computes 1 x 2 x 2 neighbours at once, as further output channels.

    A convolution with 3 output channels leaves most of a vector register empty. Four voxels times
    three channels fill three quarters of it, for 48 / 27 of the products.

    Parameters
    ----------
    weights
        ``(out, in, 3, 3, 3)`` of a convolution with padding 1.

    Returns
    -------
    ndarray
        ``(4 out, in, 3, 4, 4)`` float32, for strides 1, 2, 2 and padding 1; channel
        ``4 c + 2 j + k`` is channel c of the neighbour at (0, j, k).
    """
    out, channels = weights.shape[:2]
    grouped = np.zeros((out, 2, 2, channels, 3, 4, 4), np.float32)
    for j in range(2):
        for k in range(2):
            grouped[:, j, k, :, :, j : j + 3, k : k + 3] = weights
    return grouped.reshape(4 * out, channels, 3, 4, 4)
