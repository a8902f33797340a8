"""The report as one page that asks for nothing from anywhere and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vmcalibration.report.plots import Plot
from vmruntime.html_report import STYLE

__all__ = ["page"]

NONE = "\u2013"

OWN_STYLE = """
.verdict { font-size: 1.15rem; border-left: 6px solid #0072b2; background: #eaf3fa;
  padding: .8rem 1.2rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
.fact { color: #444; margin: 0 0 .6rem; }
figure { margin: 0 0 1.8rem; break-inside: avoid; }
figcaption { color: #444; font-size: .9rem; }
img { max-width: 1210px; }
tr.best th, tr.best td { font-weight: bold; color: #0072b2; }
"""


def page(facts: Mapping[str, Any], plots: Sequence[Plot]) -> str:
    """The page.

    Parameters
    ----------
    facts
        What ``report.json`` holds.
    plots
        The pictures.
    """
    title = f"Precision of {facts['model']['file']}"
    figures = "".join(_figure(plot) for plot in plots)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}{OWN_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="verdict">{escape(facts["recommendation"]["sentence"])}</p>
<p class="fact">File: <code>{escape(facts["recommendation"]["model"])}</code></p>
{_warnings(facts)}
{_candidates(facts)}
{_list("Why not the others", facts["recommendation"]["declined"])}
{figures}
<div class="tables">
{_evaluations(facts)}
{_table("Budget", facts["budget"])}
{_table("Machine", facts["machine"])}
{_table("Options", facts["options"])}
{_tensors(facts)}
</div>
</body>
</html>
"""


def _warnings(facts: Mapping[str, Any]) -> str:
    items = [risk["text"] for risk in facts["risks"]]
    items += [f"{name} is left out: {why}" for name, why in facts["pairs"]["skipped"].items()]
    if not facts["budget"]["dice_judged"]:
        items.append("No pair has labels, so that Dice was not measured and its budget not judged.")
    if not items:
        return ""
    lines = "".join(f"<li>{escape(item)}</li>\n" for item in items)
    return f'<div class="warnings">\n<ul>\n{lines}</ul>\n</div>'


def _candidates(facts: Mapping[str, Any]) -> str:
    best = facts["recommendation"]["precision"]
    names = (
        "", "error, 99 % (mm)", "largest (mm)", "Dice", "seconds", "CPU seconds", "peak GB",
        "file MB", "within budget",
    )  # fmt: skip
    rows = []
    for candidate in facts["candidates"]:
        verdict, timing = candidate["verdict"], candidate["timing"] or {}
        loss = verdict["dice_loss"]
        peak, size = timing.get("peak_mb"), candidate["bytes"]
        cells = (
            _number(verdict["p99_mm"]),
            _number(verdict["max_mm"]),
            NONE if loss is None else f"{-loss or 0.0:+.4f}",
            _fixed(timing.get("seconds")),
            _fixed(timing.get("cpu_seconds")),
            _fixed(None if peak is None else peak / 1000),
            _fixed(None if size is None else size / 1e6),
            "yes" if verdict["meets"] else "no",
        )
        kind = ' class="best"' if candidate["name"] == best else ""
        rows.append(
            f'<tr{kind}><th scope="row">{escape(candidate["title"])}</th>'
            + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
            + "</tr>\n"
        )
    return _section("Precisions, worst of all pairs", _head(*names) + "".join(rows))


def _evaluations(facts: Mapping[str, Any]) -> str:
    names = ("", "mean mm", "99 %", "largest", "Dice", "folding %", "NCC")
    rows = []
    for found in facts["evaluations"]:
        error, alike = found["error"], found["similarity"] or {}
        cells = (
            _number(error["mean_mm"]),
            _number(error["p99_mm"]),
            _number(error["max_mm"]),
            _fixed(found["dice"], 4),
            _number(found["folding_percent"]),
            _fixed(alike.get("ncc"), 4),
        )
        name = f"{found['candidate']}, {found['pair']}: {found['how']} ({found['engine']})"
        rows.append(_row(name, cells))
    return _section("Every pair", _head(*names) + "".join(rows), long=True)


def _tensors(facts: Mapping[str, Any]) -> str:
    names = ("tensor", "min", "max", "overflow", "flushed")
    rows = [
        _row(
            name,
            (
                _number(held["min"]),
                _number(held["max"]),
                _number(held["fp16_overflow_share"]),
                _number(held["fp16_flush_share"]),
            ),
        )
        for name, held in (*facts["tensors"].items(), *facts["weights"].items())
    ]
    return _section("Tensors and weights in FP16", _head(*names) + "".join(rows), long=True)


def _figure(plot: Plot) -> str:
    data = base64.b64encode(plot.png).decode("ascii")
    return (
        f"<figure>\n<h2>{escape(plot.title)}</h2>\n"
        f'<img alt="{escape(plot.text)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(plot.text)}</figcaption>\n</figure>\n"
    )


def _list(title: str, items: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(item)}</li>\n" for item in items)
    return f"<section>\n<h2>{escape(title)}</h2>\n<ul>\n{lines}</ul>\n</section>" if lines else ""


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = []
    for name, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        text = NONE if shown in (None, "") else str(shown)
        rows.append(f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(text)}</td></tr>\n')
    return _section(title, "<tbody>\n" + "".join(rows))


def _section(title: str, content: str, *, long: bool = False) -> str:
    kind = ' class="long"' if long else ""
    return (
        f"<section{kind}>\n<h2>{escape(title)}</h2>\n"
        f"<table>\n{content}</tbody>\n</table>\n</section>\n"
    )


def _head(*names: str) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"<thead>\n<tr>{cells}</tr>\n</thead>\n<tbody>\n"


def _row(name: str, cells: Iterable[str]) -> str:
    values = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{values}</tr>\n'


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _fixed(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
