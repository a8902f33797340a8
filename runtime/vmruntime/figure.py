"""One page to judge a registration by."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import MissingDependencyError
from vmruntime.quality import Quality
from vmruntime.registration import Registration
from vmruntime.slices import View, window
from vmruntime.volume import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_figure", "require_matplotlib"]

# The page, in pixels.
DPI, WIDTH, MARGIN, GAP = 100, 1900, 26, 8
ROW_NAMES, TILES, WARNING_LINE, TITLES, FOOT = 34, 108, 26, 62, 70
SHORTEST_ROW, TALLEST_ROWS, SMALLEST_LETTERED = 190, 1500, 60
LONGEST_WARNING, LONGEST_NAME = 180, 30  # characters

Style = dict[str, Any]

PLANES = (("Axial", 2, "z", "LR"), ("Coronal", 1, "y", "LR"), ("Sagittal", 0, "x", "PA"))
"""Name, the world axis that is looked along, its letter, what is at the left and at the right."""

INK, GREY, GOOD, BAD = "#1a1a1a", "#606060", "#0072b2", "#c04f00"
CYCLE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Label colours for every kind of colour vision (Okabe and Ito 2008, less yellow: white lines)."""


def require_matplotlib() -> None:
    """Find out early whether a figure can be drawn.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "a figure needs matplotlib, which is not installed; "
            "run: pip install 'voxelmorph-deploy[figure]'"
        ) from error


def draw_figure(
    path: str | os.PathLike[str],
    registration: Registration,
    quality: Quality,
    moved_labels: Volume | None = None,
    fixed_labels: Volume | None = None,
) -> None:
    """Draw scans, differences and labels in three planes below the figures, as a PNG.

    Parameters
    ----------
    path
        Where to; overwritten. The same input gives the same bytes.
    registration
        What is shown, in the model's intensities.
    quality
        Its figures.
    moved_labels, fixed_labels
        Carried labels and the fixed scan's own, integers, both on the fixed grid. Without any,
        their column is left out.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    moving, fixed = registration.moving.data, registration.fixed.data
    moved = registration.moved_scaled()
    before = moving - fixed
    # One scale for both differences, so that what is left compares with what was there.
    limit = float(np.percentile(np.abs(before[before != 0]), 98)) if before.any() else 1.0
    low, high = window(moving, fixed)
    exact: Style = {"interpolation": "nearest"}
    smooth = {"interpolation": "bilinear", "interpolation_stage": "data"}
    # More shades than these cannot be told apart but make the file half as large again.
    grey = smooth | {"cmap": colormaps["gray"].resampled(64), "vmin": low, "vmax": high}
    signed = smooth | {"cmap": colormaps["RdBu_r"].resampled(65), "vmin": -limit, "vmax": limit}
    names = [PurePath(scan.name).name for scan in (registration.moving, registration.fixed)]
    names = [n if len(n) <= LONGEST_NAME else f"{n[:15]}\u2026{n[-14:]}" for n in names]
    columns = [
        ("Moving", names[0], moving, grey),
        ("Moved", "moving, carried onto fixed", moved, grey),
        ("Fixed", names[1], fixed, grey),
        ("Difference before", "moving \u2212 fixed", before, signed),
        ("Difference after", "moved \u2212 fixed", moved - fixed, signed),
    ]
    filled = fixed_labels or moved_labels
    lines = moved_labels if fixed_labels else None
    if filled:
        what = "carried onto fixed" if moved_labels else "of the fixed scan"
        what = "filled: fixed, white lines: carried" if lines else what
        columns.append(("Labels", what, fixed, grey | {"vmax": low + 1.5 * (high - low)}))

    view = View.of(registration.fixed)
    colours = _colours([view.cut(v.data, a) for v in (filled, lines) if v for a in range(3)])
    extent = [part.stop - part.start for part in view.box] * np.array(view.grid.voxel_size)
    sizes = [np.delete(extent, axis) for _, axis, _, _ in PLANES]
    step = (WIDTH - 2 * MARGIN - ROW_NAMES + GAP) // len(columns)
    scale = min((step - GAP) / max(w for w, _ in sizes), TALLEST_ROWS / sum(h for _, h in sizes))
    rows = [max(round(h * scale), SHORTEST_ROW) for _, h in sizes]
    found = [textwrap.wrap(f"Warning: {text}", LONGEST_WARNING) for text in registration.warnings]
    warnings = [line for wrapped in found for line in wrapped]

    y = MARGIN + TILES + WARNING_LINE * len(warnings) + TITLES
    size = (WIDTH / DPI, (y + sum(rows) + 3 * GAP + FOOT) / DPI)
    page = _Page(Figure(size, dpi=DPI, facecolor="white"))
    for number, (name, value, note, colour) in enumerate(_tiles(quality)):
        x = MARGIN + number * (WIDTH - 2 * MARGIN) // 4
        page.text(x, MARGIN - 8, name, 17, color=GREY)
        page.text(x, MARGIN + 15, value, 32, weight="bold")
        page.text(x, MARGIN + 58, note, 17, color=colour)
    for number, line in enumerate(warnings):
        page.text(MARGIN, MARGIN + TILES - 8 + number * WARNING_LINE, line, 17, color=BAD)
    left = [MARGIN + ROW_NAMES + number * step for number in range(len(columns))]
    for x, (title, subtitle, _, _) in zip(left, columns, strict=True):
        page.text(x, y - TITLES, title, 22, weight="bold")
        page.text(x, y - TITLES + 30, subtitle, 16, color=GREY)
    for row, (width, height), (plane, axis, letter, sides) in zip(rows, sizes, PLANES, strict=True):
        position = view.grid.affine @ [*view.index, 1]
        where = f"{plane}, {letter} = {round(position[axis])} mm"
        page.text(MARGIN, y + row // 2, where, 17, rotation=90, va="center")
        w, h = max(round(width * scale), 1), max(round(height * scale), 1)
        top = y + (row - h) // 2
        for x, (title, _, data, style) in zip(left, columns, strict=True):
            page.image(x, top, w, h, view.cut(data, axis), style)
            if filled and title == "Labels":
                page.image(x, top, w, h, _fill(view.cut(filled.data, axis), colours), exact)
            if lines and title == "Labels":
                page.image(x, top, w, h, _outline(view.cut(lines.data, axis), w, h), exact)
            if min(w, h) > SMALLEST_LETTERED:
                ink, ground = (INK, "white") if style is signed else ("white", "black")
                backed = {"facecolor": ground, "alpha": 0.6, "pad": 2, "linewidth": 0}
                page.text(x + 8, top + 6, sides[0], 17, color=ink, bbox=backed)
                page.text(x + w - 8, top + 6, sides[1], 17, color=ink, ha="right", bbox=backed)
        y += row + GAP
    x, w = left[3], 2 * step - GAP
    page.image(x, y + GAP, w, 16, np.linspace(-limit, limit, 65)[None], signed | exact)
    page.text(x, y + GAP + 22, f"\u2212{limit:.2g}, darker than fixed", 16, color=GREY)
    page.text(x + w // 2, y + GAP + 22, "0", 16, color=GREY, ha="center")
    page.text(x + w, y + GAP + 22, f"{limit:.2g}, brighter than fixed", 16, color=GREY, ha="right")
    canvas: Any = FigureCanvasAgg(page.figure)
    canvas.print_png(path, metadata={"Software": None})


@dataclass(frozen=True, eq=False)
class _Page:
    """A figure that is laid out in pixels from its top left corner."""

    figure: Figure

    def text(self, x: int, y: int, text: str, height: int, **style: Any) -> None:
        """Plain text, no formulas, hanging from `y`."""
        across, down = self.figure.bbox.size
        # A character that the font lacks would be a warning on the user's terminal.
        known = "".join(c if c < "\u0250" or c in "\u2212\u2192\u2013\u2026" else "?" for c in text)
        plain: Style = {
            "va": "top",
            "color": INK,
            "family": "DejaVu Sans",
            "parse_math": False,
        }
        self.figure.text(x / across, 1 - y / down, known, size=height * 72 / DPI, **plain | style)

    def image(self, x: int, y: int, w: int, h: int, data: NDArray[Any], style: Style) -> None:
        """An image in a frame; its top left corner is at (`x`, `y`)."""
        across, down = self.figure.bbox.size
        axes = self.figure.add_axes((x / across, 1 - (y + h) / down, w / across, h / down))
        axes.imshow(data, aspect="auto", **style)
        axes.set(xticks=[], yticks=[], facecolor="none")
        axes.spines[:].set(color="#b0b0b0", linewidth=0.8)


def _tiles(quality: Quality) -> list[tuple[str, str, str, str]]:
    """Name, figure, what it means, and in which colour to say it."""

    def verdict(gain: float) -> tuple[str, str]:
        return ("better", GOOD) if gain > 0 else ("worse", BAD) if gain < 0 else ("no change", GREY)

    start, end, folds = quality.similarity_before, quality.similarity_after, quality.regularity
    ncc = (f"{start.ncc:.3f} \u2192 {end.ncc:.3f}", *verdict(end.ncc - start.ncc))
    mse = (f"{start.mse:.3g} \u2192 {end.mse:.3g}", *verdict(start.mse - end.mse))
    tiles = [("Correlation (NCC)", *ncc), ("Mean squared error", *mse)]
    if quality.overlap_before and quality.overlap_after:
        first, then = quality.overlap_before.mean, quality.overlap_after.mean
        value, note, colour = "\u2013", "no label to compare", BAD
        scores = quality.overlap_after.labels
        if scores:
            value = f"{first:.3f} \u2192 {then:.3f}"
            note, colour = verdict(then - first)
            dice, label = min((dice, label) for label, dice in scores.items())
            note += f"; lowest {dice:.2f} (label {label})"
        tiles.append((f"Dice, mean of {len(scores)} labels", value, note, colour))
    count = folds.folding_voxels
    value = f"{folds.folding_percent:.2g} %" if count else "none"
    note = f"{count or 'no'} voxel{'s' * (count != 1)} turned inside out"
    return [*tiles, ("Folding", value, note, BAD if count else GOOD)]


def _colours(slices: list[NDArray[Any]]) -> dict[int, tuple[int, int, int]]:
    """A colour for every label but 0; those that touch get different ones where possible."""
    near: dict[int, set[int]] = {}
    for part in slices:
        near |= {label: near.get(label, set()) for label in np.unique(part).tolist()}
        for one, other in ((part[1:], part[:-1]), (part[:, 1:], part[:, :-1])):
            border = one != other
            for a, b in set(zip(one[border].tolist(), other[border].tolist(), strict=True)):
                near[a].add(b)
                near[b].add(a)
    colours: dict[int, tuple[int, int, int]] = {}
    for label in sorted(near.keys() - {0}):
        taken = Counter(colours.get(other) for other in near[label])
        used = Counter(colours.values())
        colours[label] = min(CYCLE, key=lambda colour: (taken[colour], used[colour]))
    return colours


def _fill(part: NDArray[Any], colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """``(rows, columns)`` labels as translucent colours, ``(rows, columns, 4)`` uint8 RGBA."""
    values, where = np.unique(part, return_inverse=True)
    table = [(*colours[value], 160) if value else (0, 0, 0, 0) for value in values.tolist()]
    return np.array(table, np.uint8)[where.reshape(part.shape)]


def _outline(part: NDArray[Any], w: int, h: int) -> NDArray[np.uint8]:
    """Borders of labels as white lines one pixel wide, ``(h, w, 4)`` uint8 RGBA."""
    rows, columns = part.shape
    large = part[np.arange(h) * rows // h][:, np.arange(w) * columns // w]
    edge = np.zeros((h, w), bool)
    edge[1:] |= large[1:] != large[:-1]
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    return np.repeat(edge[..., None] * np.uint8(255), 4, axis=2)
