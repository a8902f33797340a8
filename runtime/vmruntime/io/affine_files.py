"""Files that hold an affine: ITK text, MATLAB and HDF5, FSL, FreeSurfer.

A file is recognised by its contents when read (FSL and ITK share the suffix ``.mat``) and by the
suffix when written. Inside there is one convention: a ``(4, 4)`` matrix from RAS+ mm of the fixed
world to RAS+ mm of the moving world.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import OutputError, TransformError
from vmruntime.grid import Grid
from vmruntime.io.fsl import format_fsl, parse_fsl
from vmruntime.io.itk_composite import read_composite
from vmruntime.io.itk_matlab import is_matlab, parse_itk_matlab
from vmruntime.io.itk_text import SIGNATURE, format_itk_text, parse_itk_text
from vmruntime.io.lta import format_lta, is_lta, parse_lta
from vmruntime.io.matrix import checked_matrix

__all__ = ["AFFINE_SUFFIXES", "read_affine", "write_affine"]

AFFINE_SUFFIXES = (".lta", ".mat", ".tfm", ".txt")
"""What `write_affine` writes: FreeSurfer, FSL, ITK, ITK."""

LARGEST_FILE = 1 << 20
"""An affine takes some hundred bytes; an image given by mistake need not be read."""

HDF5 = b"\x89HDF\r\n\x1a\n"

FORMATS = "ITK (.txt, .tfm, .mat, .h5), FSL .mat or FreeSurfer .lta"


def read_affine(
    path: str | os.PathLike[str], *, moving: Grid | None = None, fixed: Grid | None = None
) -> NDArray[np.float64]:
    """Read an affine.

    Parameters
    ----------
    path
        ITK text (``.txt``, ``.tfm``), MATLAB 4 (ANTs' ``0GenericAffine.mat``) or HDF5 (``.h5``)
        with linear transforms only, FSL's text matrix, or FreeSurfer's LTA of type 0 or 1.
    moving, fixed
        Grids of the two scans; FSL's files cannot be understood without both.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64: RAS+ mm of the fixed world to RAS+ mm of the moving world.

    Raises
    ------
    TransformError
        Missing, damaged or singular, no affine, or a grid is needed and not given.
    MissingDependencyError
        An HDF5 file, and h5py is not installed.
    """
    name = os.fspath(path)
    content = _content(Path(name), name)
    if content.startswith(HDF5):
        return read_composite(name).matrix(name)
    if is_matlab(content):
        return parse_itk_matlab(content, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TransformError(f"{name}: is no affine file; {FORMATS} was expected") from None
    if text.startswith(SIGNATURE):
        return parse_itk_text(text, name)
    if is_lta(text):
        return parse_lta(text, name, moving, fixed)
    return parse_fsl(text, name, moving, fixed)


def write_affine(
    path: str | os.PathLike[str],
    matrix: NDArray[np.float64],
    *,
    moving: Grid | None = None,
    fixed: Grid | None = None,
) -> None:
    """Write an affine in the format of the suffix.

    Parameters
    ----------
    path
        ``.txt`` or ``.tfm`` for ITK, ``.mat`` for FSL, ``.lta`` for FreeSurfer; overwritten.
    matrix
        ``(4, 4)``: RAS+ mm of the fixed world to RAS+ mm of the moving world.
    moving, fixed
        Grids of the two scans; FSL's and FreeSurfer's files need both.

    Raises
    ------
    OutputError
        Another suffix.
    TransformError
        The matrix is singular or not finite, or a grid is needed and not given.
    OSError
        The file cannot be written.
    """
    name = os.fspath(path)
    matrix = checked_matrix(np.asarray(matrix, np.float64), name)
    suffix = Path(name).suffix.lower()
    if suffix in (".txt", ".tfm"):
        text = format_itk_text(matrix)
    elif suffix == ".mat":
        text = format_fsl(matrix, name, moving, fixed)
    elif suffix == ".lta":
        text = format_lta(matrix, name, moving, fixed)
    else:
        raise OutputError(
            f"{name}: an affine's name must end in .txt or .tfm (ITK), .mat (FSL) or .lta "
            "(FreeSurfer)"
        )
    Path(name).write_text(text, encoding="ascii")


def _content(path: Path, name: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise TransformError(f"{name}: no such file; check the path") from None
    except OSError as error:
        raise TransformError(
            f"{name}: cannot be read ({error.strerror}); check the path"
        ) from error
    if not content:
        raise TransformError(f"{name}: the file is empty; {FORMATS} was expected")
    if len(content) > LARGEST_FILE and not content.startswith(HDF5):
        raise TransformError(f"{name}: is too large for an affine; {FORMATS} was expected")
    return content
