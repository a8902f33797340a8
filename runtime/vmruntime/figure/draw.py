"""One page to judge a registration by."""

from __future__ import annotations

import io
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmruntime.errors import MissingDependencyError
from vmruntime.figure.columns import EXACT, SHADES, Column, columns_of, label_column
from vmruntime.figure.dice import draw_dice
from vmruntime.figure.page import BAD, GOOD, GREY, INK, Page
from vmruntime.figure.slices import PLANES, View
from vmruntime.figure.tiles import tiles_of
from vmruntime.quality import Quality
from vmruntime.registration import Registration
from vmruntime.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["draw_figure", "figure_png", "require_matplotlib"]

# The page, in pixels.
MARGIN, GAP, STEP, ROW_NAMES = 26, 8, 284, 34
WARNING_LINE, TILES, TITLES, FOOT = 26, 122, 60, 64
SHORTEST_ROW, TALLEST_ROWS, SMALLEST_LETTERED = 190, 760, 60
LARGEST_FILE = 2_000_000  # bytes
TEXT_WIDTH = 9.6  # of a letter of a warning, in pixels; wide ones, for they vary
PALE_BAD = "#fdeee3"


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
    """Write `figure_png` to a file, which is overwritten.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    Path(path).write_bytes(figure_png(registration, quality, moved_labels, fixed_labels))


def figure_png(
    registration: Registration,
    quality: Quality,
    moved_labels: Volume | None = None,
    fixed_labels: Volume | None = None,
    *,
    warnings: bool = True,
) -> bytes:
    """Draw warnings, figures, scans, edges, differences, deformation and labels in three planes.

    Parameters
    ----------
    registration
        What is shown, on the model's grid in its intensities.
    quality
        Its figures.
    moved_labels, fixed_labels
        Carried labels and the fixed scan's own, integers, each on any grid in the fixed scan's
        world. Without any, their column is left out.
    warnings
        Write the warnings on top; False where they stand beside the picture.

    Returns
    -------
    bytes
        A PNG. The same input gives the same bytes.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # Matplotlib needs it as well

    view = View.of(registration.pair.fixed)
    scans, changes = columns_of(registration, view)
    labels = label_column(registration, view, moved_labels, fixed_labels)
    before, after = quality.overlap_before, quality.overlap_after
    count = len(scans) + bool(labels or (before and after))
    width = 2 * MARGIN + ROW_NAMES + count * STEP - GAP
    rows = _Rows(view)
    lines = _warning_lines(registration, width)
    top = MARGIN + (WARNING_LINE * (len(lines) or 1) + 3 * GAP if warnings else 0)
    first = top + TILES + TITLES
    second = first + rows.height + GAP + TITLES
    height = second + rows.height + FOOT
    page = Page.blank(width, height)
    if warnings:
        _draw_warnings(page, lines, width)
    tiles = tiles_of(registration, quality)
    for number, tile in enumerate(tiles):
        x = MARGIN + number * (width - 2 * MARGIN) // len(tiles)
        page.text(x, top, tile.name, 16, color=GREY)
        page.text(x, top + 22, tile.value, 26, weight="bold")
        page.text(x, top + 60, tile.note, 16, color=tile.colour, linespacing=1.3)
    rows.draw(page, first, [*scans, labels] if labels else scans)
    rows.draw(page, second, changes)
    _draw_keys(page, second + rows.height, changes)
    if before and after:
        x = MARGIN + ROW_NAMES + len(scans) * STEP
        page.text(x, second - TITLES, "Dice by label", 22, weight="bold")
        note = "grey: before, blue: after, orange: worse"
        page.text(x, second - TITLES + 30, note, 15, color=GREY)
        draw_dice(page, x, second, STEP - GAP, rows.height, before, after)
    canvas: Any = FigureCanvasAgg(page.figure)
    canvas.draw()
    # Without transparency, which nothing uses, the file is a tenth smaller.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    content = _png(picture)
    if len(content) > LARGEST_FILE:  # Noisy scans; 256 colours are near enough for those.
        content = _png(picture.quantize(256, Image.Quantize.MAXCOVERAGE))
    return content


def _png(picture: Picture) -> bytes:
    content = io.BytesIO()
    picture.save(content, "png")
    return content.getvalue()


class _Rows:
    """Three planes below each other, all to one scale.

    Parameters
    ----------
    view
        Where the slices are.
    """

    def __init__(self, view: View) -> None:
        extent = [part.stop - part.start for part in view.box] * np.array(view.grid.voxel_size)
        sizes = [np.delete(extent, axis) for _, axis, _, _ in PLANES]
        scale = min(
            (STEP - GAP) / max(w for w, _ in sizes), TALLEST_ROWS / sum(h for _, h in sizes)
        )
        self.sizes = [(max(round(w * scale), 1), max(round(h * scale), 1)) for w, h in sizes]
        self.heights = [max(h, SHORTEST_ROW) for _, h in self.sizes]
        self.height = sum(self.heights) + 3 * GAP
        self.position = view.grid.affine @ [*view.index, 1]

    def draw(self, page: Page, y: int, columns: list[Column]) -> None:
        """Draw columns side by side, their titles above `y`."""
        left = [MARGIN + ROW_NAMES + number * STEP for number in range(len(columns))]
        for x, column in zip(left, columns, strict=True):
            page.text(x, y - TITLES, column.title, 22, weight="bold")
            page.text(x, y - TITLES + 30, column.note, 15, color=GREY)
        for row, (w, h), (plane, axis, letter, sides) in zip(
            self.heights, self.sizes, PLANES, strict=True
        ):
            where = f"{plane}, {letter} = {round(self.position[axis])} mm"
            page.text(MARGIN, y + row // 2, where, 17, rotation=90, va="center")
            top = y + (row - h) // 2
            for x, column in zip(left, columns, strict=True):
                for layer in column.layers:
                    layer(page, (x, top, w, h), axis)
                if min(w, h) > SMALLEST_LETTERED:
                    ink, ground = (INK, "white") if column.light else ("white", "black")
                    backed = {"facecolor": ground, "alpha": 0.6, "pad": 2, "linewidth": 0}
                    page.text(x + 8, top + 6, sides[0], 17, color=ink, bbox=backed)
                    page.text(x + w - 8, top + 6, sides[1], 17, color=ink, ha="right", bbox=backed)
            y += row + GAP


def _warning_lines(registration: Registration, width: int) -> list[str]:
    longest = int((width - 2 * MARGIN - 2 * GAP) / TEXT_WIDTH)
    found = [f"Warning [{code}]: {text}" for code, text in registration.warnings]
    return [line for text in found for line in textwrap.wrap(text, longest)]


def _draw_warnings(page: Page, lines: list[str], width: int) -> None:
    """What looks doubtful comes first; nothing doubtful is said as well."""
    if not lines:
        page.text(MARGIN, MARGIN, "No warnings", 17, color=GOOD, weight="bold")
        return
    box = (MARGIN - GAP, MARGIN - GAP, width - 2 * MARGIN + 2 * GAP)
    page.box(*box, WARNING_LINE * len(lines) + 2 * GAP, PALE_BAD)
    for number, line in enumerate(lines):
        page.text(MARGIN, MARGIN + number * WARNING_LINE, line, 17, color=BAD)


def _draw_keys(page: Page, y: int, columns: list[Column]) -> None:
    """The colour scales, under their columns."""
    for number, column in enumerate(columns):
        if column.key is None:
            continue
        x, w = MARGIN + ROW_NAMES + number * STEP, column.key.columns * STEP - GAP
        shades = np.linspace(*column.key.ends, SHADES)[None]
        page.image(x, y, w, 16, shades, EXACT | column.key.style)
        places = ((x, "left"), (x + w // 2, "center"), (x + w, "right"))
        for text, (place, side) in zip(column.key.texts, places, strict=True):
            page.text(place, y + 22, text, 16, color=GREY, ha=side)
