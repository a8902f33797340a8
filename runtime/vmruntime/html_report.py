"""Everything about one registration as a web page that needs nothing else."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path, PurePath
from typing import Any

from vmruntime.figure import figure_png
from vmruntime.quality import Quality
from vmruntime.registration import Registration
from vmruntime.volume import Volume

__all__ = ["write_html"]

NONE = "\u2013"

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a;
  background: #fff; max-width: 1800px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; break-after: avoid; }
img { width: 100%; height: auto; display: block; break-inside: avoid; }
.warnings { background: #fdeee3; border-left: 6px solid #c04f00; padding: .8rem 1.2rem;
  margin: 0 0 1rem; overflow-wrap: anywhere; }
.warnings ul { margin: 0; padding-left: 1.2rem; }
.fine { color: #0072b2; font-weight: bold; margin: 0 0 1rem; }
.tables { columns: 26rem; column-gap: 2.5rem; margin-top: 1.5rem; }
section { margin: 0 0 1.8rem; break-inside: avoid; }
section.long { break-inside: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid #ddd; font-weight: normal; }
td { overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #888; font-weight: bold; }
th:not(:first-child), td.number { text-align: right; }
td.matrix { white-space: pre; font: .82em/1.6 ui-monospace, "DejaVu Sans Mono", monospace; }
td.worse { color: #c04f00; font-weight: bold; }
code { font-size: .92em; }
@media print { body { padding: 0; font-size: 11px; } .tables { columns: 2; } }
"""

Row = tuple[str, ...]


def write_html(
    path: str | os.PathLike[str],
    registration: Registration,
    quality: Quality,
    report: Mapping[str, Any],
    moved_labels: Volume | None = None,
    fixed_labels: Volume | None = None,
) -> None:
    """Write one page with the picture, the warnings and all figures.

    It asks for nothing from anywhere and runs no script.

    Parameters
    ----------
    path
        Where to; overwritten.
    registration, quality
        What the picture shows.
    report
        What `build_report` made of them.
    moved_labels, fixed_labels
        Carried labels and the fixed scan's own, see `figure_png`.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    picture = figure_png(registration, quality, moved_labels, fixed_labels, warnings=False)
    # A file name may hold bytes that are no text, which UTF-8 cannot carry.
    Path(path).write_bytes(_page(picture, report).encode("utf-8", "replace"))


def _page(picture: bytes, report: Mapping[str, Any]) -> str:
    names = [PurePath(report["inputs"][role]).name for role in ("moving", "fixed")]
    title = escape(f"{names[0]} \u2192 {names[1]}")
    sections = [
        _similarity(report),
        _affine(report["affine"], report["foreground_outside"]),
        _deformation(report),
        _timings(report["seconds"], report["wall"]),
        _table("Engine", _flat(report["engine"])),
        _table("Inputs", _flat(report["inputs"])),
        _table("Versions", _flat(report["versions"])),
        _labels(report["dice"], report["volumes_mm3"]),
        _table("Model", _flat(report["manifest"]), long=True),
    ]
    data = base64.b64encode(picture).decode("ascii")
    alternative = (
        "Slices of the scans in three planes with the fixed scan's edges, differences, "
        "deformation, volume change and labels; the figures stand in the tables below."
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{_warnings(report["warnings"])}
<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">
<div class="tables">
{"".join(sections)}</div>
</body>
</html>
"""


def _warnings(warnings: Iterable[Mapping[str, str]]) -> str:
    items = "".join(
        f"<li><code>{escape(found['code'])}</code>: {escape(found['text'])}</li>\n"
        for found in warnings
    )
    if not items:
        return '<p class="fine">No warnings</p>'
    return f'<div class="warnings">\n<h2>Warnings</h2>\n<ul>\n{items}</ul>\n</div>'


def _similarity(report: Mapping[str, Any]) -> str:
    before, after = report["similarity"]["before"], report["similarity"]["after"]
    names = (
        ("ncc", "Correlation (NCC)", True),
        ("local_ncc", "Local correlation", True),
        ("mse", "Mean squared error", False),
    )
    rows = [(name, before[key], after[key], rises) for key, name, rises in names]
    overlap = report["foreground_dice"]
    rows.append(("Dice of the foregrounds", overlap["before"], overlap["after"], True))
    if report["dice"]:
        dice = report["dice"]
        rows.append(
            ("Mean Dice of the labels", dice["before"]["mean"], dice["after"]["mean"], True)
        )
    body = "".join(
        _row(name, _score(first), _score(then), worse=_is_worse(first, then, rises))
        for name, first, then, rises in rows
    )
    return _section("Agreement with the fixed scan", _head("", "before", "after") + body)


def _affine(affine: Mapping[str, Any], outside: Mapping[str, float]) -> str:
    rows: list[Row] = [("Source", str(affine["source"]))]
    names = (
        ("correlation", "Correlation at 8 mm", ""),
        ("foreground_overlap", "Dice of the foregrounds at 8 mm", ""),
        ("rotation_degrees", "Rotation", "\u00b0"),
        ("scale", "Scale", ""),
        ("translation_mm", "Translation R, A, S", " mm"),
    )
    rows += [
        (name, _figure(affine[key], unit)) for key, name, unit in names if affine[key] is not None
    ]
    if affine["fixed_outside"] is not None:
        rows.append(("Fixed foreground outside the moving scan", f"{affine['fixed_outside']:.2%}"))
    for role, share in outside.items():
        rows.append((f"Foreground of the {role} scan outside the model's grid", f"{share:.2%}"))
    matrix = "\n".join("".join(f"{value:9.4f}" for value in line) for line in affine["matrix"])
    rows.append(("Fixed to moving, RAS+ mm", matrix))
    return _table("Affine alignment", rows)


def _deformation(report: Mapping[str, Any]) -> str:
    found, error = report["regularity"], report["inverse_consistency"]
    count = f"{found['folding_voxels']} voxels ({found['folding_percent']:.3g} %)"
    rows = [
        ("Folding", count),
        ("Standard deviation of ln det J", _figure(found["sd_log_jacobian"])),
    ]
    if error:
        names = (("mean_mm", "mean"), ("p99_mm", "99th percentile"), ("max_mm", "largest"))
        rows += [(f"Inverse error, {name}", _figure(error[key], " mm")) for key, name in names]
    return _table("Deformation", rows)


def _timings(seconds: Mapping[str, float], wall: float) -> str:
    rows = [(name, f"{value:.2f} s") for name, value in seconds.items()]
    return _table("Timings", [*rows, ("all", f"{wall:.2f} s")])


def _labels(dice: Mapping[str, Any] | None, volumes: Mapping[str, float]) -> str:
    """Every label that was compared or carried, with its volume once it was carried."""
    before = dice["before"]["labels"] if dice else {}
    after = dice["after"]["labels"] if dice else {}
    labels = sorted(after.keys() | volumes.keys(), key=int)
    if not labels:
        return ""
    body = "".join(
        _row(
            label,
            _score(before.get(label)),
            _score(after.get(label)),
            f"{volumes[label]:,.0f} mm\u00b3" if label in volumes else NONE,
            worse=_is_worse(before.get(label), after.get(label), True),
        )
        for label in labels
    )
    head = _head("Label", "Dice before", "after", "Volume, carried")
    return _section("Labels", head + body, long=True)


def _is_worse(before: float | None, after: float | None, rises: bool) -> bool:
    if before is None or after is None:
        return False
    return after < before if rises else after > before


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[Row]:
    """A nested mapping as rows, their names joined by points."""
    rows: list[Row] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _figure(value)))
    return rows


def _figure(value: Any, unit: str = "") -> str:
    """A value for people: four digits where it is not whole."""
    if value is None:
        return NONE
    if isinstance(value, (list, tuple)):
        return ", ".join(_figure(item) for item in value) + unit
    if isinstance(value, float):
        return f"{value:.4g}{unit}"
    return f"{value}{unit}"


def _score(value: float | None) -> str:
    """A correlation or a Dice; never so short that a small error looks like none."""
    if value is None:
        return NONE
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def _table(title: str, rows: Iterable[Row], *, long: bool = False) -> str:
    """Names and values."""
    return _section(title, "<tbody>\n" + "".join(_pair(*row) for row in rows), long=long)


def _section(title: str, content: str, *, long: bool = False) -> str:
    kind = ' class="long"' if long else ""
    return (
        f"<section{kind}>\n<h2>{escape(title)}</h2>\n"
        f"<table>\n{content}</tbody>\n</table>\n</section>\n"
    )


def _head(*names: str) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"<thead>\n<tr>{cells}</tr>\n</thead>\n<tbody>\n"


def _pair(name: str, value: str) -> str:
    """A name, which may be broken at its points, and a value; several lines are a matrix."""
    kind = ' class="matrix"' if "\n" in value else ""
    broken = escape(name).replace(".", ".<wbr>")
    return f'<tr><th scope="row">{broken}</th><td{kind}>{escape(value)}</td></tr>\n'


def _row(name: str, *values: str, worse: bool) -> str:
    """Figures before, after and what else; "after" is marked where it is worse."""
    cells = "".join(
        f'<td class="number{" worse" if worse and number == 1 else ""}">{escape(value)}</td>'
        for number, value in enumerate(values)
    )
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>\n'
