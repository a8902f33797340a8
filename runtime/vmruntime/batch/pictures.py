"""Pictures of a cohort's page: how the figures are distributed, and what a pair looks like."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.batch.ranking import MEASURES
from vmruntime.batch.results import Result
from vmruntime.figure.edges import border_levels, smoothed
from vmruntime.figure.page import BAD, GOOD, GREY, INK, Page
from vmruntime.figure.slices import PLANES, View, window
from vmruntime.volume import Volume

__all__ = ["distributions", "thumbnail"]

WIDTH, PLOT, COLUMNS = 1560, 250, 3  # pixels, pixels, plots in a row
GUTTER, EDGE = 40, 8
DOTS = 400
"""With more pairs than this the plot shows bars alone."""

HEIGHT = 200  # of a thumbnail, pixels
LINES = "#ffb000"


def distributions(results: Sequence[Result]) -> tuple[bytes, int]:
    """A histogram of every figure that was measured, with a dot for each pair.

    Returns
    -------
    tuple
        A PNG, the same bytes for the same input, and how many histograms it shows.
    """
    plots: list[tuple[str, list[float], bool | None]] = []
    for key, measure in MEASURES.items():
        found = [value for r in results if (value := r.figures.get(key)) is not None]
        if found:
            plots.append((measure.name, found, measure.rises))
    seconds = [r.seconds for r in results if r.status == "done" and r.seconds is not None]
    if seconds:
        plots.append(("seconds a pair", seconds, None))
    rows = -(-len(plots) // COLUMNS)
    page = Page.blank(WIDTH, max(rows * PLOT, 1))
    width = (WIDTH - 2 * EDGE - (COLUMNS - 1) * GUTTER) // COLUMNS
    for number, (name, values, rises) in enumerate(plots):
        x = EDGE + number % COLUMNS * (width + GUTTER)
        y = EDGE + number // COLUMNS * PLOT
        _histogram(page, x, y, width, name, np.array(values), rises)
    return _png(page), len(plots)


def _histogram(
    page: Page,
    x: int,
    y: int,
    width: int,
    name: str,
    values: NDArray[np.float64],
    rises: bool | None,
) -> None:
    """One figure: bars, dots under them, the median, and which side is the good one."""
    top, height, dots = y + 58, PLOT - 140, 18
    low, high = float(values.min()), float(values.max())
    alike = high - low < 1e-9 * max(abs(high), 1)
    if alike:
        low, high = low - 0.5, high + 0.5
    better = {None: "", True: ", more is better", False: ", less is better"}[rises]
    page.text(x, y, name, 18, weight="bold")
    middle = float(np.median(values))
    note = f"median {middle:.4g}, {len(values)} pair{'s' * (len(values) != 1)}{better}"
    page.text(x, y + 26, note, 15, color=GREY)
    bins = int(np.clip(np.sqrt(len(values)) * 2, 5, 40))
    counts, _ = np.histogram(values, bins, (low, high))
    step = width / bins
    page.box(x, top + height, width, 1, GREY)
    page.text(x + width, y + 30, f"tallest bar: {counts.max()}", 13, ha="right", color=GREY)
    for number, count in enumerate(counts):
        tall = round(height * count / counts.max())
        if tall:
            page.box(round(x + number * step), top + height - tall, step - 1, tall, "#a9c9de")
    place = x + (values - low) / (high - low) * width
    if len(values) <= DOTS:
        # All of one height would hide each other; the same on every run.
        heights = top + height + 6 + (np.arange(len(values)) * 7) % dots
        page.axes.scatter(place, heights, s=14, color=INK, alpha=0.6, linewidths=0)
    at = round(x + (middle - low) / (high - low) * width)
    page.box(at, top, 2, height, GOOD)
    foot = top + height + dots + 12
    worst = low if rises else high
    ends = ((low, x, "left"), (high, x + width, "right"))
    if alike:
        page.text(x + width // 2, foot, f"{values[0]:.4g}", 15, ha="center", color=GREY)
    for value, where, side in () if alike else ends:
        colour = BAD if rises is not None and value == worst else GREY
        page.text(where, foot, f"{value:.4g}", 15, ha=side, color=colour)


def thumbnail(moved: Volume, fixed: Volume) -> bytes:
    """Three planes of a carried scan with the fixed scan's borders; a PNG.

    Parameters
    ----------
    moved, fixed
        On one grid.
    """
    from matplotlib import colormaps

    view = View.of(fixed)
    low, high = window(moved.data)
    style: dict[str, Any] = {
        "cmap": colormaps["gray"],
        "vmin": low,
        "vmax": low + 1.35 * (high - low),
        "interpolation": "bilinear",
    }
    levels = border_levels(fixed.data)
    extent = [part.stop - part.start for part in view.box] * np.array(view.grid.voxel_size)
    sizes = [np.delete(extent, axis) for _, axis, _, _ in PLANES]
    scale = HEIGHT / max(tall for _, tall in sizes)
    drawn = [(max(round(w * scale), 1), max(round(h * scale), 1)) for w, h in sizes]
    page = Page.blank(sum(wide for wide, _ in drawn) + 8, HEIGHT)
    x = 0
    for (wide, tall), (_, axis, _, _) in zip(drawn, PLANES, strict=True):
        box = (x, (HEIGHT - tall) // 2, wide, tall)
        page.image(*box, view.cut(moved.data, axis), style)
        edges = smoothed(view.cut(fixed.data, axis))
        page.lines(*box, edges, levels, {"colors": [LINES], "linewidths": 0.6})
        x += wide + 4
    return _png(page, colours=160)


def _png(page: Page, colours: int | None = None) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(page.figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    if colours:
        picture = picture.quantize(colours, Image.Quantize.MAXCOVERAGE)
    content = io.BytesIO()
    picture.save(content, "png")
    return content.getvalue()
