"""FreeSurfer's linear transforms (``.lta``).

The matrix maps the source, which is our moving scan, to the destination, our fixed one, between
voxels (type 0) or RAS+ mm (type 1); the file carries both grids. Source: FreeSurfer's
utils/transform.cpp (``LTAreadEx``, ``vg_i_to_r``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import ScanError, TransformError
from vmruntime.grid import Grid
from vmruntime.io.matrix import checked_matrix

__all__ = ["format_lta", "is_lta", "parse_lta"]

VOX_TO_VOX, RAS_TO_RAS = 0, 1


def is_lta(text: str) -> bool:
    """Whether a file's text looks like an LTA."""
    lines = _lines(text)
    return bool(lines) and _key(lines[0]) == "type" and any(_key(s) == "nxforms" for s in lines[:4])


def parse_lta(text: str, name: str, moving: Grid | None, fixed: Grid | None) -> NDArray[np.float64]:
    """The transform of a file.

    Parameters
    ----------
    text
        Contents of the file.
    name
        What messages call it.
    moving, fixed
        Grids that stand in where a type-0 file marks its own as invalid.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64, fixed to moving, RAS+ mm: the inverse of the file's direction.

    Raises
    ------
    TransformError
        Damaged, of another type, several transforms in one file, or a grid is missing.
    """
    lines = _lines(text)
    try:
        entries = dict(_entry(line) for line in lines if "=" in line)
        kind, count = int(entries["type"]), int(entries["nxforms"])
        start = lines.index("1 4 4") + 1
        rows = [[float(word) for word in line.split()] for line in lines[start : start + 4]]
        matrix = np.array(rows, np.float64).reshape(4, 4)
        source, destination = _geometries(lines)
    except (ValueError, KeyError, ScanError) as error:
        raise TransformError(
            f"{name}: is damaged or no LTA as FreeSurfer writes it; write it again"
        ) from error
    if kind not in (VOX_TO_VOX, RAS_TO_RAS) or count != 1:
        raise TransformError(
            f"{name}: is an LTA of type {kind} with {count} transforms; one of type 0 (voxels) or "
            "1 (RAS) is needed: lta_convert --inlta IN --outlta OUT makes one"
        )
    matrix = checked_matrix(matrix, name)
    if kind == VOX_TO_VOX:
        source, destination = source or moving, destination or fixed
        if source is None or destination is None:
            raise TransformError(
                f"{name}: counts in voxels and does not say of which grids (its volume info is "
                "invalid); convert it: lta_convert --inlta IN --outlta OUT --src SRC --trg TRG"
            )
        matrix = destination.affine @ matrix @ np.linalg.inv(source.affine)
    return np.asarray(np.linalg.inv(matrix))


def format_lta(
    matrix: NDArray[np.float64], name: str, moving: Grid | None, fixed: Grid | None
) -> str:
    """A file's contents (type 1) for a ``(4, 4)`` matrix, fixed to moving, RAS+ mm."""
    if moving is None or fixed is None:
        raise TransformError(
            f"{name}: an LTA states the grids of both scans; give them, or write an ITK text file "
            "(.txt) instead"
        )
    rows = (" ".join(f"{value:.15e}" for value in row) for row in np.linalg.inv(matrix))
    return "\n".join(
        [
            f"type      = {RAS_TO_RAS} # LINEAR_RAS_TO_RAS",
            "nxforms   = 1",
            "mean      = 0.0000 0.0000 0.0000",
            "sigma     = 1.0000",
            "1 4 4",
            *rows,
            *_volume_info("src", moving),
            *_volume_info("dst", fixed),
            "",
        ]
    )


def _lines(text: str) -> list[str]:
    """Lines without comments and empty lines, blanks single."""
    stripped = (" ".join(line.partition("#")[0].split()) for line in text.splitlines())
    return [line for line in stripped if line]


def _key(line: str) -> str:
    return line.partition("=")[0].strip()


def _entry(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key.strip(), value.strip()


def _geometries(lines: list[str]) -> tuple[Grid | None, Grid | None]:
    """Grids of source and destination; None where the file marks one as invalid."""
    source, destination = lines.index("src volume info"), lines.index("dst volume info")
    return _grid(lines[source:destination]), _grid(lines[destination:])


def _grid(lines: list[str]) -> Grid | None:
    entries = dict(_entry(line) for line in lines if "=" in line)
    if not int(entries["valid"]):
        return None
    shape = tuple(int(word) for word in entries["volume"].split())
    size = [float(word) for word in entries["voxelsize"].split()]
    axes = [[float(word) for word in entries[f"{axis}ras"].split()] for axis in "xyz"]
    affine = np.eye(4)
    centre = [float(word) for word in entries["cras"].split()]
    with np.errstate(all="ignore"):  # a Grid refuses what is not finite
        affine[:3, :3] = np.array(axes).T * size
        # FreeSurfer's centre is the voxel at half the size, not the middle of the array.
        affine[:3, 3] = np.array(centre) - affine[:3, :3] @ (np.array(shape) / 2)
    return Grid(shape, affine)


def _volume_info(role: str, grid: Grid) -> list[str]:
    size = np.array(grid.voxel_size)
    axes = grid.affine[:3, :3] / size
    centre = grid.affine[:3, 3] + grid.affine[:3, :3] @ (np.array(grid.shape) / 2)

    def numbers(values: NDArray[np.float64]) -> str:
        return " ".join(f"{value:.15e}" for value in values)

    return [
        f"{role} volume info",
        "valid = 1  # volume info valid",
        f"filename = {role}",
        "volume = " + " ".join(map(str, grid.shape)),
        f"voxelsize = {numbers(size)}",
        *(f"{axis}ras   = {numbers(axes[:, i])}" for i, axis in enumerate("xyz")),
        f"cras   = {numbers(centre)}",
    ]
