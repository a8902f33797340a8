"""Linear transforms in ITK's text format (``.txt``, ``.tfm``), as ANTs and Slicer write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError
from vmruntime.io.itk_linear import AFFINE, LinearTransform, affine_parameters, linear_matrix

__all__ = ["SIGNATURE", "format_itk_text", "parse_itk_text"]

SIGNATURE = "#Insight Transform File"


def parse_itk_text(text: str, name: str) -> NDArray[np.float64]:
    """The transform of a file, or the product of its transforms where it holds a composite.

    Parameters
    ----------
    text
        Contents of the file.
    name
        What messages call it.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64, fixed to moving, RAS+ mm.

    Raises
    ------
    TransformError
        Damaged, or no linear 3-D transform.
    """
    transforms = []
    composite = False
    for block in text.split("#Transform")[1:]:
        entries = dict(_entry(line) for line in block.splitlines()[1:] if ":" in line)
        kind = entries.get("Transform", "")
        if kind.startswith("CompositeTransform"):
            composite = True
            continue
        transforms.append(
            LinearTransform(
                kind,
                _numbers(entries.get("Parameters", ""), name),
                _numbers(entries.get("FixedParameters", ""), name),
            )
        )
    if len(transforms) != 1 and not (composite and transforms):
        raise TransformError(
            f"{name}: holds {len(transforms)} transforms and no composite of them; one linear "
            "transform is needed: write each to a file of its own"
        )
    return linear_matrix(transforms, name)


def format_itk_text(matrix: NDArray[np.float64]) -> str:
    """A file's contents for a ``(4, 4)`` matrix, fixed to moving, RAS+ mm."""
    parameters = " ".join(repr(float(value)) for value in affine_parameters(matrix))
    return (
        f"{SIGNATURE} V1.0\n#Transform 0\nTransform: {AFFINE}\n"
        f"Parameters: {parameters}\nFixedParameters: 0 0 0\n"
    )


def _entry(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _numbers(text: str, name: str) -> NDArray[np.float64]:
    try:
        return np.array([float(word) for word in text.split()])
    except ValueError:
        raise TransformError(
            f"{name}: its parameters {text[:60]!r} are not numbers; it is damaged, write it again"
        ) from None
