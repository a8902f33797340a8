"""Registrations to draw pages of, and what to look up on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic_scans import affine_of, textured
from vmruntime import (
    Displacement,
    Grid,
    Registration,
    Transform,
    Volume,
)
from vmruntime.alignment import Alignment
from vmruntime.figure import figure_png
from vmruntime.preparation import Prepared
from vmruntime.stages import Stages
from vmruntime.workplace import HostWorkplace

SHAPE = (11, 14, 9)
VOXEL_SIZE = (1.0, 2.0, 3.5)
ALIGNMENT = Alignment(
    matrix=np.eye(4),
    correlation=0.98123,
    foreground_overlap=0.964,
    fixed_outside=0.0,
    scale=(1.12, 1.0, 0.87),
    rotation_degrees=12.4,
    translation_mm=(1.0, 2.0, 3.0),
    warnings=(),
    reason="",
)


def register(
    affine: NDArray[np.float64] | None = None,
    shape: tuple[int, ...] = SHAPE,
    fixed: NDArray[np.float32] | None = None,
    warnings: tuple[tuple[str, str], ...] = (),
    name: str = "/data/sub-1_T1w.nii.gz",
    field: NDArray[np.float32] | None = None,
    source: str = "none",
    alignment: Alignment | None = None,
) -> Registration:
    """A registration as a Registrar would return it, without a network."""
    grid = Grid(shape, affine_of("LIA", VOXEL_SIZE) if affine is None else affine)
    data = textured(shape, 1, 1.0) if fixed is None else fixed
    moving, target = Volume(data[::-1].copy(), grid, None, name), Volume(data, grid, None, name)
    if field is None:
        field = np.random.default_rng(2).normal(0, 0.2, (3, *shape)).astype(np.float32)
    transform = Transform(grid, grid, np.eye(4), Displacement(field, grid))
    return Registration(
        moved=transform.apply(moving),
        moved_labels=(),
        transform=transform,
        inverse=None,
        pair=Prepared(moving, target, np.eye(4), source, alignment, warnings),
        stages=Stages(),
        workplace=HostWorkplace(1),
    )


def texts_of(drawn: list[dict[str, Any]]) -> dict[str, str]:
    """Every text on the page and its colour."""
    return {text.get_text(): text.get_color() for text in drawn[0]["page"].figure.texts}


def png_of(registration: Registration, **volumes: Volume) -> bytes:
    """The page of a registration, measured the quick way."""
    return figure_png(registration, registration.quality(local=False), **volumes)


def column(drawn: list[dict[str, Any]], title: str) -> list[dict[str, Any]]:
    """What was drawn below a title, from the axial to the sagittal plane."""
    figure = drawn[0]["page"].figure
    width, height = figure.bbox.size
    tops = {}
    for text in figure.texts:
        x, y = text.get_position()
        tops[text.get_text()] = (x * width, (1 - y) * height)
    left, top = tops[title]
    lower = [y for x, y in tops.values() if abs(x - left) < 1 and y > top + 100]
    end = min(lower, default=height)
    boxes = [(image, image["box"]) for image in drawn]
    return [image for image, box in boxes if abs(box[0] - left) < 1 and top < box[1] < end]


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, which must be one."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def world_ramp(grid: Grid, axis: int) -> NDArray[np.float32]:
    """World coordinate `axis` of every voxel, RAS+ mm."""
    index = np.stack([*np.indices(grid.shape), np.ones(grid.shape)])
    return np.einsum("j,jdhw->dhw", grid.affine[axis], index).astype(np.float32)
