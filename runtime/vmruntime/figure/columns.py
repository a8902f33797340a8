"""What the page shows of a registration: columns of slices, each of images and lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.figure.deformation import Deformation, marks
from vmruntime.figure.edges import border_levels, smoothed
from vmruntime.figure.labels import colours_of, fill, outline
from vmruntime.figure.page import GREY, Page, Style, shorten
from vmruntime.figure.slices import View, sample, window
from vmruntime.registration import Registration
from vmruntime.transform import Transform
from vmruntime.volume import Volume

__all__ = ["Column", "Key", "columns_of", "label_column"]

Box = tuple[int, int, int, int]
Layer = Callable[[Page, Box, int], None]
"""Draws a slice across a world axis into a box."""

EXACT: Style = {"interpolation": "nearest"}
SMOOTH: Style = {"interpolation": "bilinear", "interpolation_stage": "data"}

SHADES, GREYS = 41, 64
"""More cannot be told apart but make the file half as large again; odd, so that 0 has its own."""

EDGE_COLOUR = "#ffb000"
LEAST_CHANGE, MOST_CHANGE = 1.0, 3.0
"""Where the colour scale of log2 det J ends: a little looks little, near folds do not count."""


@dataclass(frozen=True)
class Key:
    """A colour scale under a column, and what its ends and its middle stand for."""

    style: Style
    ends: tuple[float, float]
    texts: tuple[str, str, str]
    columns: int = 1


@dataclass(frozen=True, eq=False)
class Column:
    """One picture in three planes."""

    title: str
    note: str
    layers: tuple[Layer, ...]
    light: bool = False
    key: Key | None = field(default=None)


def columns_of(registration: Registration, view: View) -> tuple[list[Column], list[Column]]:
    """The scans, and below them what differs and what was done; five each.

    Misalignment is shown by contours, not by a checkerboard: a line that leaves its border shows
    an error anywhere along the border and how large it is, the fields of a checkerboard only where
    their edges cross one, and there a difference in contrast looks the same.
    """
    from matplotlib import colormaps

    pair = registration.pair
    moving, fixed = pair.moving.data, pair.fixed.data
    moved = registration.moved_scaled()
    grey = _grey(*window(moving, fixed))
    # Darker, so that lines stand out from what is bright.
    dim = grey | {"vmax": grey["vmin"] + 1.35 * (grey["vmax"] - grey["vmin"])}
    names = [shorten(PurePath(scan.name).name) for scan in (pair.moving, pair.fixed)]

    def image(data: NDArray[np.float32], style: Style) -> Layer:
        return lambda page, box, axis: page.image(*box, view.cut(data, axis), style)

    levels = border_levels(fixed)

    def edges(page: Page, box: Box, axis: int) -> None:
        style = {"colors": [EDGE_COLOUR], "linewidths": 0.8}
        page.lines(*box, smoothed(view.cut(fixed, axis)), levels, style)

    scans = [
        Column(_moving_title(pair.affine_source), names[0], (image(moving, grey),)),
        Column("Moved", "carried onto fixed", (image(moved, grey),)),
        Column("Fixed", names[1], (image(fixed, grey),)),
        Column("Edges before", "lines: borders in fixed", (image(moving, dim), edges)),
        Column("Edges after", "the same lines over moved", (image(moved, dim), edges)),
    ]
    before, after = moving - fixed, moved - fixed
    # One scale for both differences, so that what is left compares with what was there.
    limit = float(np.percentile(np.abs(sample(before[before != 0])), 98)) if before.any() else 1.0
    signed = {"cmap": colormaps["RdBu_r"].resampled(SHADES), "vmin": -limit, "vmax": limit}
    words = (f"\u2212{limit:.2g}, darker than fixed", "0", f"{limit:.2g}, brighter than fixed")
    key = Key(signed, (-limit, limit), words, columns=2)
    changes = [
        Column(
            "Difference before",
            "moving \u2212 fixed",
            (image(before, SMOOTH | signed),),
            light=True,
            key=key,
        ),
        Column(
            "Difference after", "moved \u2212 fixed", (image(after, SMOOTH | signed),), light=True
        ),
        *_deformation(Deformation(registration.displacement, view)),
    ]
    return scans, changes


def label_column(
    registration: Registration, view: View, moved: Volume | None, fixed: Volume | None
) -> Column | None:
    """Labels over the fixed scan, or None without any.

    Parameters
    ----------
    registration
        Whose fixed scan lies below.
    view
        Where the slices are.
    moved, fixed
        Carried labels and the fixed scan's own, each on any grid in the fixed world.
    """
    first = fixed or moved
    if first is None:
        return None
    scan = registration.pair.fixed
    filled = _on_model(first, registration)
    lines = _on_model(moved, registration) if fixed and moved else None
    note = "carried onto fixed" if moved else "of the fixed scan"
    note = "filled: fixed, white lines: carried" if lines is not None else note
    cuts = [view.cut(data, a) for data in (filled, lines) if data is not None for a in range(3)]
    colours = colours_of(cuts)
    low, high = window(registration.pair.moving.data, scan.data)
    below = _grey(low, low + 1.5 * (high - low))

    def draw(page: Page, box: Box, axis: int) -> None:
        page.image(*box, view.cut(scan.data, axis), below)
        page.image(*box, fill(view.cut(filled, axis), colours), EXACT)
        if lines is not None:
            page.image(*box, outline(view.cut(lines, axis), *box[2:]), EXACT)

    return Column("Labels", note, (draw,))


def _deformation(deformation: Deformation) -> list[Column]:
    """The warped grid, the change of volume and the length of the displacement."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    changes = [deformation.log2_change(axis) for axis in range(3)]
    lengths = [deformation.length_mm(axis) for axis in range(3)]
    used = np.abs(np.concatenate([part[np.isfinite(part)] for part in changes]))
    found = float(np.percentile(used, 99)) if used.size else 0.0
    limit = min(max(found, LEAST_CHANGE), MOST_CHANGE)
    # Without the darkest ends, from which black could not be told. Orange is what nearly folds.
    shades = ListedColormap(colormaps["PuOr"](np.linspace(0.12, 0.88, SHADES)), "change")
    change: Style = {"cmap": shades, "vmin": -limit, "vmax": limit}
    longest = max(float(np.percentile(np.concatenate([p.ravel() for p in lengths]), 99.5)), 1e-3)
    length: Style = {"cmap": colormaps["viridis"].resampled(SHADES), "vmin": 0, "vmax": longest}

    def grid(page: Page, box: Box, axis: int) -> None:
        for along in (other for other in range(3) if other != axis):
            style = {"colors": [GREY], "linewidths": 0.5}
            coordinate = deformation.coordinate(axis, along)
            page.lines(*box, coordinate, deformation.levels(along), style)

    def volume(page: Page, box: Box, axis: int) -> None:
        page.image(*box, changes[axis], EXACT | change)
        page.image(*box, marks(np.isnan(changes[axis]), *box[2:]), EXACT)

    def distance(page: Page, box: Box, axis: int) -> None:
        page.image(*box, lengths[axis], SMOOTH | length)

    ends = (f"\u2212{limit:.2g}, enlarged", "0", f"{limit:.2g}, shrunk")
    spacing = f"{deformation.spacing_mm:g} mm grid, carried onto fixed"
    return [
        Column("Deformation", spacing, (grid,), light=True),
        Column(
            "Volume change", "log\u2082 det J, no affine; black: folded", (volume,), light=True,
            key=Key(change, (-limit, limit), ends),
        ),
        Column(
            "Displacement", "length, no affine", (distance,),
            key=Key(length, (0, longest), ("0", "", f"{longest:.2g} mm")),
        ),
    ]  # fmt: skip


def _moving_title(source: str) -> str:
    """How the first column's scan came onto the model's grid; see `Prepared.affine_source`."""
    if source == "none":
        return "Moving"
    return "Moving, by headers" if source == "header" else "Moving, affine only"


def _grey(low: float, high: float) -> Style:
    from matplotlib import colormaps

    return SMOOTH | {"cmap": colormaps["gray"].resampled(GREYS), "vmin": low, "vmax": high}


def _on_model(labels: Volume, registration: Registration) -> NDArray[Any]:
    """Labels where the slices are taken, ``(D, H, W)`` of their own type."""
    model = registration.pair.fixed.grid
    if labels.grid.matches(model):
        return labels.data
    here = Transform(model, labels.grid, np.eye(4))
    return here.apply(labels, "nearest", threads=registration.threads).data
