"""The report's pictures, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vmcalibration.evaluation import ErrorMap
from vmcalibration.histogram import HALF_FLUSH, HALF_LARGEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plot", "draw_plots"]

DPI = 110
WIDE = 11.0  # inches
INK, GREY, BLUE, ORANGE, GREEN = "#1a1a1a", "#808080", "#0072b2", "#d55e00", "#009e73"
"""Told apart by every kind of colour vision."""

LEAST_MM = 1e-5
"""Errors below this are drawn here: float32 against itself is 0, which has no logarithm."""


@dataclass(frozen=True)
class Plot:
    """A picture.

    Parameters
    ----------
    title
        Its heading.
    text
        What it shows, for those who do not see it too.
    png
        The picture.
    """

    title: str
    text: str
    png: bytes


def draw_plots(facts: Mapping[str, Any], maps: Mapping[str, tuple[str, ErrorMap]]) -> list[Plot]:
    """All pictures of a report.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    from vmruntime.figure import require_matplotlib

    require_matplotlib()
    plots = [_errors(facts), _costs(facts)]
    dice = _dice(facts)
    if dice:
        plots.append(dice)
    plots += _maps(facts, maps)
    sensitivity = _sensitivity(facts)
    if sensitivity:
        plots.append(sensitivity)
    return [*plots, _ranges(facts)]


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure((WIDE, height), dpi=DPI, facecolor="white", layout="constrained")


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)


def _errors(facts: Mapping[str, Any]) -> Plot:
    rows = [c for c in facts["candidates"] if c["name"] != "fp32"]
    figure = _figure(1.3 + 0.5 * max(len(rows), 1))
    axes = figure.subplots()
    _plain(axes)
    pairs = list(facts["pairs"]["used"])
    infinite = False
    for position, candidate in enumerate(rows):
        for evaluation in facts["evaluations"]:
            if evaluation["candidate"] != candidate["name"]:
                continue
            error = evaluation["error"]
            y = position + 0.22 * (pairs.index(evaluation["pair"]) / max(len(pairs) - 1, 1) - 0.5)
            if error["p99_mm"] is None:
                infinite = True
                axes.text(LEAST_MM * 1.3, y, "not finite", color=ORANGE, va="center", fontsize=9)
                continue
            values = [max(error[key], LEAST_MM) for key in ("mean_mm", "p99_mm", "max_mm")]
            axes.plot(values, [y] * 3, color=GREY, linewidth=1, zorder=1)
            for value, colour, marker in zip(values, (BLUE, INK, ORANGE), "o|d", strict=True):
                size = 90 if marker == "|" else 26
                axes.scatter([value], [y], s=size, c=colour, marker=marker, zorder=2)
    axes.axvline(facts["budget"]["mm"], color=GREEN, linewidth=1.5)
    axes.axvline(facts["budget"]["mm_used_at_most"], color=GREEN, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [c["title"] for c in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(
        "displacement error against FP32, mm (log):  mean \u25cf   99 % |   largest \u25c6   "
        "green: the budget for 99 %",
        fontsize=9,
    )
    text = "Displacement error of each precision in each pair, with the budget."
    if infinite:
        text += " A precision without points gave no finite displacement."
    return Plot("Displacement error", text, _png(figure))


def _costs(facts: Mapping[str, Any]) -> Plot:
    rows = facts["candidates"]
    figure = _figure(1.2 + 0.42 * len(rows))
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    columns = (
        ("seconds, wall (bar) and CPU (dot)", "seconds", 1.0),
        ("peak memory, GB", "peak_mb", 1e3),
        ("file, MB", "bytes", 1e6),
    )
    for axes, (label, key, unit) in zip(panels, columns, strict=True):
        _plain(axes)
        for position, candidate in enumerate(rows):
            timing = candidate["timing"] or {}
            found = candidate["bytes"] if key == "bytes" else timing.get(key)
            if found is None:
                axes.text(0, position, " not on this machine", va="center", fontsize=8, color=GREY)
                continue
            best = candidate["name"] == facts["recommendation"]["precision"]
            axes.barh(position, found / unit, height=0.6, color=BLUE if best else GREY)
            axes.text(found / unit, position, f" {found / unit:.2f}", va="center", fontsize=8)
            if key == "seconds":
                axes.plot([timing["cpu_seconds"]], [position], "o", color=INK, ms=4)
        axes.set_xlabel(label, fontsize=9)
        axes.margins(x=0.2)
    panels[0].set_yticks(range(len(rows)), [c["title"] for c in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return Plot(
        "Cost on this machine",
        "Seconds, memory and file size of each precision; the recommended one is blue.",
        _png(figure),
    )


def _dice(facts: Mapping[str, Any]) -> Plot | None:
    base = {e["pair"]: e for e in facts["evaluations"] if e["candidate"] == "fp32"}
    labelled = [e for e in base.values() if e["dice"] is not None]
    if not labelled:
        return None
    labels = sorted({label for e in labelled for label in e["dice_labels"]}, key=int)
    figure = _figure(3.6)
    axes = figure.subplots()
    _plain(axes)
    names = [c for c in facts["candidates"] if c["name"] != "fp32"]
    colours = (BLUE, ORANGE, GREEN, INK, GREY, "#cc79a7")
    for number, candidate in enumerate(names):
        changes = []
        for label in labels:
            found = [
                e["dice_labels"][label] - base[e["pair"]]["dice_labels"][label]
                for e in facts["evaluations"]
                if e["candidate"] == candidate["name"] and label in e["dice_labels"]
            ]
            changes.append(min(found) if found else np.nan)
        shift = 0.7 * ((number + 0.5) / len(names) - 0.5)
        axes.scatter(
            np.arange(len(labels)) + shift, changes, s=14,
            color=colours[number % len(colours)], label=candidate["title"],
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 20 else 0)
    axes.set_xlabel("label", fontsize=9)
    axes.set_ylabel("Dice less FP32's, worst pair", fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="best")
    text = "Change of Dice against float32 for each label, in its worst pair."
    return Plot("Dice of each label", text, _png(figure))


def _maps(facts: Mapping[str, Any], maps: Mapping[str, tuple[str, ErrorMap]]) -> list[Plot]:
    shown = [c for c in facts["candidates"] if c["name"] in maps and c["name"] != "fp32"]
    if not shown:
        return []
    figure = _figure(2.7 * len(shown))
    panels = figure.subplots(len(shown), 3, squeeze=False)
    for row, candidate in zip(panels, shown, strict=True):
        pair, planes = maps[candidate["name"]]
        finite = [planes[f"error_{axis}"] for axis in range(3)]
        known = np.concatenate([plane[np.isfinite(plane)] for plane in finite])
        top = max(float(np.percentile(known, 99.9)) if known.size else 0.0, LEAST_MM)
        for axis, axes in enumerate(row):
            axes.imshow(planes[f"scan_{axis}"].T, cmap="gray", interpolation="nearest")
            picture = axes.imshow(
                planes[f"error_{axis}"].T, cmap="inferno", alpha=0.65, vmin=0, vmax=top,
                interpolation="nearest",
            )  # fmt: skip
            across, down = (int(w) for i, w in enumerate(planes["where"]) if i != axis)
            axes.plot([across], [down], "+", color="white", ms=9)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(candidate["title"], fontsize=9)
        row[1].set_title(pair, fontsize=8, color=GREY)
        figure.colorbar(picture, ax=list(row), shrink=0.85, label="mm")
    text = (
        "Length of the displacement error in mm on the fixed scan, in the worst pair of each "
        "precision, through the worst voxel (cross)."
    )
    return [Plot("Where the error is", text, _png(figure))]


def _sensitivity(facts: Mapping[str, Any]) -> Plot | None:
    formats = [lower for lower in ("fp16", "int8") if lower in facts["sensitivity"]]
    if not formats:
        return None
    layers = facts["model"]["layers"]
    figure = _figure(1.1 + 0.26 * len(layers))
    panels = figure.subplots(1, len(formats), sharey=True, squeeze=False)[0]
    for axes, lower in zip(panels, formats, strict=True):
        _plain(axes)
        kept = facts["plans"][lower]["kept"]
        rows = {row["layer"]: row for row in facts["sensitivity"][lower]}
        finite = [r["p99_mm"] for r in rows.values() if r["p99_mm"] is not None]
        top = max([*finite, LEAST_MM])
        for position, name in enumerate(layers):
            value = rows[name]["p99_mm"]
            colour = ORANGE if name in kept else BLUE
            axes.barh(position, top if value is None else max(value, LEAST_MM), color=colour)
            if value is None:
                axes.text(LEAST_MM, position, " not possible", va="center", fontsize=8, color="w")
        axes.set_xscale("log")
        axes.set_xlabel(f"{lower.upper()} in this layer alone: error at 99 %, mm", fontsize=9)
    panels[0].set_yticks(range(len(layers)), layers)
    panels[0].set_ylim(len(layers) - 0.5, -0.5)
    text = (
        "Displacement error with one layer alone in the lower precision. Orange layers stay "
        "float32 in the plan."
    )
    return Plot("Sensitivity of each layer", text, _png(figure))


def _ranges(facts: Mapping[str, Any]) -> Plot:
    tensors = facts["tensors"]
    figure = _figure(1.1 + 0.2 * len(tensors))
    axes = figure.subplots()
    _plain(axes)
    for position, held in enumerate(tensors.values()):
        largest = max(abs(held["min"]), abs(held["max"]), 1e-30)
        usual = max(abs(held["p1"]), abs(held["p99"]), 1e-30)
        colour = ORANGE if held["fp16_overflow_share"] else BLUE
        axes.plot([usual, largest], [position] * 2, color=colour, linewidth=2)
        axes.plot([usual], [position], "|", color=colour, ms=8)
        axes.plot([largest], [position], "o", color=colour, ms=4)
    axes.axvline(HALF_LARGEST, color=ORANGE, linewidth=1, linestyle=":")
    axes.axvline(HALF_FLUSH, color=GREY, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(range(len(tensors)), list(tensors), fontsize=7)
    axes.set_ylim(len(tensors) - 0.5, -0.5)
    axes.set_xlabel(
        "absolute value (log): 99 % | to largest \u25cf; dotted: float16's end (right) and where "
        "it becomes zero (left)",
        fontsize=9,
    )
    text = "Range of every tensor of the U-Net against float16's. Orange ones overflow."
    return Plot("Ranges", text, _png(figure))
