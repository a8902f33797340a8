"""FSL's linear transforms (``flirt -omat``): four lines of four numbers.

The matrix maps the moving scan (flirt's ``-in``) to the fixed one (``-ref``) in FSL's scaled voxel
coordinates: millimetres from the corner voxel along the array's axes, the first of them mirrored
where the affine has a positive determinant. A file therefore says nothing without both grids.
Source: M. Jenkinson on the FSL mailing list, 27 July 2009, "FLIRT Affine Matricies Applied to mm
Coordinates"; checked against nitransforms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError
from vmruntime.grid import Grid
from vmruntime.io.matrix import checked_matrix

__all__ = ["format_fsl", "parse_fsl"]


def parse_fsl(text: str, name: str, moving: Grid | None, fixed: Grid | None) -> NDArray[np.float64]:
    """The transform of a file.

    Parameters
    ----------
    text
        Contents of the file.
    name
        What messages call it.
    moving, fixed
        Grids of flirt's ``-in`` and ``-ref``.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64, fixed to moving, RAS+ mm: the inverse of flirt's direction.

    Raises
    ------
    TransformError
        Not 16 numbers, singular, or a grid is missing.
    """
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if numbers.size != 16:
        raise TransformError(
            f"{name}: is no transform known here; affines are read from ITK text (.txt, .tfm), "
            "ITK .mat and .h5, FSL .mat (16 numbers) and LTA files"
        )
    matrix = checked_matrix(numbers.reshape(4, 4), name)
    moving, fixed = _both(name, moving, fixed)
    pull = _world(moving) @ np.linalg.inv(matrix) @ np.linalg.inv(_world(fixed))
    return np.asarray(pull)


def format_fsl(
    matrix: NDArray[np.float64], name: str, moving: Grid | None, fixed: Grid | None
) -> str:
    """A file's contents for a ``(4, 4)`` matrix, fixed to moving, RAS+ mm."""
    moving, fixed = _both(name, moving, fixed)
    push = np.linalg.inv(_world(fixed)) @ np.linalg.inv(matrix) @ _world(moving)
    return "".join("  ".join(f"{value:.12g}" for value in row) + "\n" for row in push)


def _both(name: str, moving: Grid | None, fixed: Grid | None) -> tuple[Grid, Grid]:
    if moving is None or fixed is None:
        which = " and ".join(
            word for word, grid in (("moving", moving), ("fixed", fixed)) if grid is None
        )
        raise TransformError(
            f"{name}: an FSL matrix counts in voxels of the two scans, and the {which} scan's grid "
            "is not known here (in a chain it never is); give the scans with this transform alone, "
            "or an ITK text file (.txt) instead"
        )
    return moving, fixed


def _world(grid: Grid) -> NDArray[np.float64]:
    """FSL's scaled voxel coordinates of a grid to RAS+ mm."""
    to_voxel = np.diag([*(1 / np.array(grid.voxel_size)), 1.0])
    if np.linalg.det(grid.affine) > 0:
        to_voxel[0, 0] *= -1
        to_voxel[0, 3] = grid.shape[0] - 1
    world: NDArray[np.float64] = grid.affine @ to_voxel
    return world
