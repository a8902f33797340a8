"""Lists of points: comma-separated text with x, y and z in RAS+ mm in the first three columns."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError

__all__ = ["PointList", "read_points", "write_points"]

DECIMALS = 6
"""A nanometre, finer than any transform is known."""


@dataclass(frozen=True, eq=False)
class PointList:
    """Points and whatever else the file says of each.

    Parameters
    ----------
    points
        ``(N, 3)`` float64, RAS+ mm.
    rest
        The further columns of each row, as they stand in the file.
    header
        The first row where that is no point, or None.
    """

    points: NDArray[np.float64]
    rest: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] | None


def read_points(path: str | os.PathLike[str]) -> PointList:
    """Read a list of points.

    Parameters
    ----------
    path
        Comma-separated; the first three columns are x, y and z in RAS+ mm. A first row without
        numbers there is a header; empty rows are passed over.

    Raises
    ------
    TransformError
        Missing or not readable as text, a row without three finite numbers, or no point at all.
    """
    name = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            numbered = [(i, row) for i, row in enumerate(csv.reader(stream), 1) if any(row)]
    except FileNotFoundError:
        raise TransformError(f"{name}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransformError(
            f"{name}: cannot be read as comma-separated text ({error}); give a .csv of points"
        ) from error
    header = None
    if numbered and not any(_is_number(cell) for cell in numbered[0][1][:3]):
        header = tuple(numbered.pop(0)[1])
    points = [_point(row, line, name) for line, row in numbered]
    if not points:
        raise TransformError(f"{name}: holds no points; rows of x,y,z in RAS mm are expected")
    rest = tuple(tuple(row[3:]) for _, row in numbered)
    return PointList(np.array(points), rest, header)


def write_points(path: str | os.PathLike[str], points: PointList) -> None:
    """Write a list of points.

    Parameters
    ----------
    path
        Comma-separated text; overwritten.
    points
        Header and further columns are written as they are.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if points.header:
            writer.writerow(points.header)
        # Adding 0 turns a rounded -0 into 0.
        for point, rest in zip(points.points.round(DECIMALS) + 0.0, points.rest, strict=True):
            writer.writerow([*(f"{value:.{DECIMALS}f}" for value in point), *rest])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _point(row: list[str], line: int, name: str) -> list[float]:
    cells = row[:3]
    numbers = [float(cell) for cell in cells if _is_number(cell)]
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise TransformError(
            f"{name}: line {line} begins with {','.join(cells)!r}; three numbers x,y,z in RAS mm, "
            "separated by commas, were expected"
        )
    return numbers
