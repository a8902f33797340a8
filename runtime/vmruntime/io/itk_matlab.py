"""Linear transforms in MATLAB 4 files, such as ANTs' ``0GenericAffine.mat``.

A matrix is 20 bytes of header (type, rows, columns, imaginary part, length of the name), the name
with a final zero, and the values. ITK writes two of them: the parameters under the transform's
name, then the fixed parameters under ``fixed``. Source: MATLAB MAT-File Format, level 4; ITK's
itkMatlabTransformIO.cxx.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError
from vmruntime.io.itk_linear import LinearTransform, linear_matrix

__all__ = ["is_matlab", "parse_itk_matlab"]

HEADER_BYTES = 20
LONGEST_NAME = 256
LARGEST_MATRIX = 64
"""Far above what any linear transform has; guards against a damaged header."""


def is_matlab(content: bytes) -> bool:
    """Whether a file begins like a MATLAB 4 matrix that could be a transform's."""
    return _header(content, 0) is not None


def parse_itk_matlab(content: bytes, name: str) -> NDArray[np.float64]:
    """The transform of a file, or the product of its transforms where it holds a composite.

    Parameters
    ----------
    content
        The file's bytes.
    name
        What messages call it.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64, fixed to moving, RAS+ mm.

    Raises
    ------
    TransformError
        Truncated, or no linear 3-D transform.
    """
    entries = []
    position = 0
    while position < len(content):
        header = _header(content, position)
        if header is None:
            raise TransformError(f"{name}: is damaged or truncated; copy it again")
        dtype, count, label_bytes = header
        start = position + HEADER_BYTES
        label = content[start : start + label_bytes].rstrip(b"\0").decode("latin-1")
        position = start + label_bytes + count * dtype.itemsize
        if position > len(content):
            raise TransformError(f"{name}: is damaged or truncated; copy it again")
        values = np.frombuffer(content, dtype, count, start + label_bytes)
        entries.append((label, values.astype(np.float64)))
    if len(entries) % 2 or any(label != "fixed" for label, _ in entries[1::2]):
        raise TransformError(
            f"{name}: is a MATLAB file with {', '.join(label for label, _ in entries)}; a "
            "transform and its 'fixed' parameters were expected: write it with ITK or ANTs"
        )
    pairs = zip(entries[::2], entries[1::2], strict=True)
    transforms = [
        LinearTransform(kind, parameters, fixed) for (kind, parameters), (_, fixed) in pairs
    ]
    return linear_matrix(transforms, name)


def _header(content: bytes, position: int) -> tuple[np.dtype[np.floating], int, int] | None:
    """Type of the values, their number and the length of the name; None where there is no matrix.

    The type's decimal digits are byte order, storage order (ITK's vnl sets a digit that
    vectors do not need), precision and kind of matrix.
    """
    if len(content) < position + HEADER_BYTES:
        return None
    for order, thousands in (("<", 0), (">", 1)):
        kind, rows, columns, imaginary, label = struct.unpack_from(f"{order}5i", content, position)
        if (
            kind // 1000 == thousands
            and kind % 100 in (0, 10)
            and imaginary == 0
            and 0 <= rows <= LARGEST_MATRIX
            and 0 <= columns <= LARGEST_MATRIX
            and 0 < label <= LONGEST_NAME
        ):
            size = 8 if kind % 100 == 0 else 4
            return np.dtype(f"{order}f{size}"), rows * columns, label
    return None
