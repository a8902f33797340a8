"""A plot of each part of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["PLOTS", "draw"]

Facts = Mapping[str, Any]
BLUE, RED, GREY = "#4477aa", "#cc3311", "#999999"


def draw(part: str, facts: Facts, path: Path) -> None:
    """Write the plot of a part as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    PLOTS[part](figure, facts)
    figure.savefig(path, dpi=120)


def bars(axes: Any, names: list[str], values: list[float], label: str) -> None:
    """Horizontal bars with their values, the first on top."""
    places = range(len(names))[::-1]
    axes.barh(places, values, color=BLUE)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=8)
    axes.set_yticks(list(places), names, fontsize=8)
    axes.set_xlabel(label)
    axes.set_xlim(right=1.2 * max(values))


def engines(figure: Any, facts: Facts) -> None:
    """Seconds with the range and the floor, and memory."""
    rows = [row for row in facts["rows"] if "unavailable" not in row]
    left, right = figure.subplots(1, 2, sharey=True)
    names = [row["engine"] for row in rows]
    places = range(len(rows))[::-1]
    bars(left, names, [row["wall"]["median"] for row in rows], "seconds; red: the machine's floor")
    for place, row in zip(places, rows, strict=True):
        left.plot([row["wall"]["min"], row["wall"]["max"]], [place + 0.25] * 2, color=GREY)
        left.plot([row["floor"]] * 2, [place - 0.4, place + 0.4], color=RED)
    bars(right, names, [row["peak_gb"] for row in rows], "peak memory, GB")


def scaling(figure: Any, facts: Facts) -> None:
    """Volume, threads and pairs, with the fitted lines."""
    one, two, three = figure.subplots(1, 3)
    found = facts["volumes"]
    million = [row["voxels"] / 1e6 for row in found["rows"]]
    points(one, million, [row["wall"] for row in found["rows"]], found["seconds"])
    one.set_xlabel("million voxels")
    one.set_ylabel("seconds")
    rows = facts["by_threads"]
    points(two, [row["threads"] for row in rows], [row["wall"] for row in rows])
    two.set_xlabel("threads")
    two.set_xticks([row["threads"] for row in rows])
    found = facts["pairs"]
    counts = [row["pairs"] for row in found["rows"]]
    points(three, counts, [row["wall"] for row in found["rows"]], found["seconds"])
    three.set_xlabel("pairs in one process")


def points(axes: Any, x: list[float], figures: list[Facts], fit: Facts | None = None) -> None:
    """Medians with their ranges, and a line."""
    medians = [figure["median"] for figure in figures]
    low = [figure["median"] - figure["min"] for figure in figures]
    high = [figure["max"] - figure["median"] for figure in figures]
    axes.errorbar(x, medians, [low, high], fmt="o", color=BLUE, capsize=3)
    if fit:
        ends = [0, max(x)]
        axes.plot(ends, [fit["intercept"] + fit["slope"] * end for end in ends], color=RED)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)


def cold(figure: Any, facts: Facts) -> None:
    """Stages beside each other, one bar a command."""
    from matplotlib import colormaps

    axes = figure.subplots()
    rows = facts["rows"]
    shades = [colormaps["tab20"](index) for index in range(20)]
    colours: dict[str, Any] = {}
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        at = 0.0
        for stage, spent in row["stages"].items():
            colours.setdefault(stage, shades[len(colours) % len(shades)])
            axes.barh(place, spent, left=at, color=colours[stage])
            at += spent
        axes.text(at, place, f" {row['wall']['median']:.2f}", va="center", fontsize=8)
    for stage, colour in colours.items():
        axes.barh(0, 0, color=colour, label=stage)
    axes.set_yticks(list(range(len(rows))[::-1]), [row["command"] for row in rows], fontsize=8)
    axes.set_xlabel("seconds from the start of the process to the files on disk")
    axes.legend(fontsize=7, ncols=2)
    axes.margins(x=0.12)


def classical(figure: Any, facts: Facts) -> None:
    """Seconds of what ran here; published figures are hatched."""
    axes = figure.subplots()
    here = [(f"ANTs {row['setting']}, here", row["wall"]) for row in facts["rows"] if "wall" in row]
    given = [(f"{row['method']}, published", row["wall"]) for row in facts["published"]["rows"]]
    names = [name for name, _ in here + given]
    bars(axes, names, [wall for _, wall in here + given], "seconds, logarithmic")
    for patch in axes.patches[len(here) :]:
        patch.set(facecolor="white", edgecolor=GREY, hatch="//")
    axes.set_xscale("log")


PLOTS: dict[str, Callable[[Any, Facts], None]] = {
    "engines": engines,
    "scaling": scaling,
    "cold": cold,
    "classical": classical,
}
