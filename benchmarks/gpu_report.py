"""The tables and the plot of `gpu.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gpu_timing import Row

__all__ = ["draw", "markdown"]


def markdown(facts: Mapping[str, object], rows: Sequence[Row]) -> str:
    """A page with a table for each group.

    Parameters
    ----------
    facts
        Of machine and run, shown as they are.
    rows
        What was measured; groups in the order in which they first occur.
    """
    lines = ["# On a GPU", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_fact(value)} |" for name, value in facts.items()]
    for group in dict.fromkeys(row.group for row in rows):
        lines += ["", f"## {group}", ""]
        lines += ["| | ms | quartiles | first, ms | MiB | floor, ms | times the floor | |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [_line(row) for row in rows if row.group == group]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """A bar for each row, with its floor; what failed is left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    done = [row for row in rows if row.ms is not None]
    figure = Figure(figsize=(8, 1 + 0.35 * max(1, len(done))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(done))[::-1]
    axes.barh(places, [row.ms or 0 for row in done], color="#4477aa")
    for place, row in zip(places, done, strict=True):
        axes.text(row.ms or 0, place, f" {row.ms:.3g}", va="center", fontsize=8)
        if row.floor_ms is not None:
            axes.plot([row.floor_ms] * 2, [place - 0.4, place + 0.4], color="#cc3311")
    axes.set_yticks(list(places), [f"{row.group}: {row.name}" for row in done], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median; red: what the machine's rates allow")
    figure.savefig(path, dpi=150)


def _line(row: Row) -> str:
    times = row.ms / row.floor_ms if row.ms is not None and row.floor_ms else None
    spread = "" if row.spread_ms is None else f"{row.spread_ms[0]:.3g} to {row.spread_ms[1]:.3g}"
    cells = [
        row.name,
        _number(row.ms),
        spread,
        _number(row.first_ms),
        _number(row.memory_mib),
        _number(row.floor_ms),
        _number(times),
        row.note.replace("|", "\\|"),
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
