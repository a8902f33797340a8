"""What every file's affine matrix must fulfil."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError

__all__ = ["LARGEST", "checked_matrix"]

SMALLEST, LARGEST = 1e-6, 1e6
"""Far beyond any scale and any distance in millimetres, and far from where products overflow."""

LAST_ROW = 1e-6
"""Text files round; a projective part of this size moves a point 1 m away by a micrometre."""

SINGULAR = 1e-9
"""Determinant of the linear part, scaled to a largest element of 1."""


def checked_matrix(matrix: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """A ``(4, 4)`` matrix that was found finite, affine and invertible.

    Parameters
    ----------
    matrix
        As read from a file, in any frame.
    name
        What messages call the file.

    Returns
    -------
    ndarray
        The same matrix with a last row of exactly 0 0 0 1.

    Raises
    ------
    TransformError
        It is none.
    """
    # Negated, so that NaN does not pass.
    if matrix.shape != (4, 4) or not np.abs(matrix).max() <= LARGEST:
        raise TransformError(
            f"{name}: its matrix is not 4 x 4 finite numbers below {LARGEST:g}; it is damaged, "
            "register again"
        )
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > LAST_ROW:
        raise TransformError(
            f"{name}: the last row of its matrix is {matrix[3].tolist()}; 0 0 0 1 was expected: "
            "it is no affine, or damaged"
        )
    scale = np.abs(matrix[:3, :3]).max()
    if scale < SMALLEST or abs(np.linalg.det(matrix[:3, :3] / scale)) < SINGULAR:
        raise TransformError(f"{name}: its matrix is singular (it flattens space); register again")
    affine = matrix.copy()
    affine[3] = 0, 0, 0, 1
    return affine
