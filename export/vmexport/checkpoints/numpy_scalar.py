"""NumPy numbers in a pickled config, without handing NumPy's own unpickling to the file.

``inshape=volume.shape`` or ``nb_unet_features=np.int64(16)`` ends up in a checkpoint as calls of
two NumPy functions. torch's weights-only loader refuses both; these stand-ins take their place
and give plain Python numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_FORMATS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I",
    "u8": "Q", "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip


class PickledDtype:
    """Stands in for ``numpy.dtype``: keeps the type code and the byte order."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def pickled_scalar(dtype: PickledDtype, data: bytes) -> bool | int | float:
    """Stand in for ``numpy.core.multiarray.scalar``.

    Raises
    ------
    ValueError
        If it is not a number.
    """
    if dtype.code not in _FORMATS:
        raise ValueError(f"a NumPy scalar of type {dtype.code!r} in the config")
    number: bool | int | float = struct.unpack(dtype.order + _FORMATS[dtype.code], data)[0]
    return number


# NumPy 2 moved the function; a file has the name of the NumPy that wrote it
NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (PickledDtype, "numpy.dtype"),
    (pickled_scalar, "numpy.core.multiarray.scalar"),
    (pickled_scalar, "numpy._core.multiarray.scalar"),
]
