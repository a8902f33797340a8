"""One page of a cohort, as a web page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from vmruntime.batch.fuse import Fused
from vmruntime.batch.layout import Layout
from vmruntime.batch.pair import Pair
from vmruntime.batch.pictures import distributions, thumbnail
from vmruntime.batch.ranking import MEASURES, Ranked, worst_first
from vmruntime.batch.results import Result
from vmruntime.errors import VMError
from vmruntime.html_report import STYLE
from vmruntime.io.images import read_scan
from vmruntime.io.outputs import Outputs

__all__ = ["Cohort", "write_page"]

SHOWN = 24
"""Pairs with a picture, the worst of all."""

LISTED = 2000
"""Pairs in the page's table; all are in results.tsv."""

MORE_STYLE = """
.cards { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(29rem, 100%), 1fr)); }
.card { border: 1px solid #ddd; padding: .6rem .8rem; break-inside: avoid; }
.card h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
.card p { margin: .3rem 0 0; font-size: .9rem; }
.card .why { color: #c04f00; }
.wide { overflow-x: auto; margin-top: 1.5rem; }
.wide td, .wide th { white-space: nowrap; }
h2 { margin-top: 1.5rem; }
"""


@dataclass(frozen=True)
class Cohort:
    """What the page is about.

    Parameters
    ----------
    out
        Folder of the batch.
    model
        Name of the model's file.
    results
        All pairs.
    fused
        All fused subjects, where labels were fused.
    method
        How.
    pictures
        The carried scans were written, so that they can be shown.
    """

    out: Path
    model: str
    results: Sequence[Result]
    fused: Sequence[Fused]
    method: str | None
    pictures: bool


def write_page(path: Path, cohort: Cohort) -> None:
    """Write the page; it asks for nothing from anywhere and runs no script.

    Raises
    ------
    OutputError
        It cannot be written.
    MissingDependencyError
        Matplotlib is not installed.
    """
    content = _page(cohort).encode("utf-8", "replace")
    with Outputs(force=True) as outputs:
        outputs.file(path).write_bytes(content)


def _page(cohort: Cohort) -> str:
    results = cohort.results
    ranked = worst_first(results)
    picture, plots = distributions(results)
    title = escape(f"{len(results)} pairs registered with {cohort.model}")
    parts = [f"<h1>{title}</h1>", _counts(cohort), _failures(cohort)]
    if plots:
        text = "Histograms of the figures below, one dot a pair; blue: the median."
        parts += ["<h2>How the figures are distributed</h2>", _image(picture, text)]
    if ranked:
        shown = ranked[:SHOWN]
        parts += [
            f"<h2>The worst {len(shown)} of {len(ranked)}, worst first</h2>",
            "<p>The carried scan with the fixed scan's borders as lines. Pairs with warnings come "
            "first, then those with a figure far on the bad side of the cohort's median.</p>",
            '<div class="cards">',
            *(_card(cohort, one) for one in shown),
            "</div>",
            "<h2>All pairs, worst first</h2>",
            _table(ranked),
        ]
    if cohort.fused:
        parts += [f"<h2>Fused labels ({escape(str(cohort.method))})</h2>", _fusions(cohort.fused)]
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}{MORE_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _counts(cohort: Cohort) -> str:
    states = [result.status for result in cohort.results]
    text = [f"{states.count('done')} done"]
    text += [f"{states.count(s)} {s}" for s in ("failed", "pending") if states.count(s)]
    warned = sum(bool(result.warnings) for result in cohort.results)
    text.append(f"{warned or 'none'} with warnings")
    return f"<p>{', '.join(text)}</p>"


def _failures(cohort: Cohort) -> str:
    items = [(r.pair.id, r.error) for r in cohort.results if r.status == "failed"]
    items += [(f"{f.subject} fused", f.error) for f in cohort.fused if f.status == "failed"]
    if not items:
        return '<p class="fine">No failures</p>'
    lines = "".join(
        f"<li><code>{escape(name)}</code>: {escape(error)}</li>\n" for name, error in items
    )
    return f'<div class="warnings">\n<h2>Failures</h2>\n<ul>\n{lines}</ul>\n</div>'


def _card(cohort: Cohort, ranked: Ranked) -> str:
    result = ranked.result
    figures = ", ".join(
        f"{measure.name}: {value:.4g}"
        for key, measure in MEASURES.items()
        if (value := result.figures.get(key)) is not None
    )
    why = ""
    if result.warnings:
        why = f"warnings: {', '.join(result.warnings)}"
    elif ranked.reason and ranked.distance > 0:
        side = "below" if MEASURES[ranked.reason].rises else "above"
        name = MEASURES[ranked.reason].name
        why = f"{name} {ranked.distance:.1f} standard deviations {side} the median"
    reason = f'<p class="why">{escape(why)}</p>\n' if why else ""
    return (
        f'<div class="card">\n<h3>{escape(result.pair.id)}</h3>\n{_picture(cohort, result.pair)}'
        f"\n{reason}<p>{escape(figures)}</p>\n</div>"
    )


def _picture(cohort: Cohort, pair: Pair) -> str:
    if not cohort.pictures:
        return "<p>No picture: the carried scan was not written (--write).</p>"
    try:
        moved = read_scan(Layout(cohort.out).image(pair, "moved"))
        content = thumbnail(moved, read_scan(pair.fixed))
    except VMError as error:
        return f"<p>No picture: {escape(str(error))}</p>"
    return _image(content, f"Carried scan of {pair.id} in three planes")


def _table(ranked: Sequence[Ranked]) -> str:
    keys = [k for k in MEASURES if any(r.result.figures.get(k) is not None for r in ranked)]
    head = "".join(
        f'<th scope="col">{escape(name)}</th>'
        for name in ("Pair", *(MEASURES[key].name for key in keys), "Seconds", "Warnings")
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(one.result.pair.id)}</th>'
        + "".join(_cell(one.result.figures, key) for key in keys)
        + f'<td class="number">{one.result.seconds or 0:.2f}</td>'
        + f'<td class="number">{escape(", ".join(one.result.warnings))}</td></tr>\n'
        for one in ranked[:LISTED]
    )
    more = len(ranked) - LISTED
    rest = f"<p>{more} more are in results.tsv.</p>" if more > 0 else ""
    table = f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>"
    return f'<div class="wide">\n{table}\n</div>\n{rest}'


def _fusions(fused: Sequence[Fused]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.subject)}</th><td class="number">'
        f"{'' if one.confidence is None else f'{one.confidence:.3f}'}</td></tr>\n"
        for one in sorted(fused, key=lambda f: f.confidence or 0)[:LISTED]
        if one.status == "done"
    )
    return (
        '<table>\n<thead>\n<tr><th scope="col">Subject</th><th scope="col">Mean confidence of its '
        f"labels</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>"
    )


def _cell(figures: Mapping[str, float | None], key: str) -> str:
    value = figures.get(key)
    return f'<td class="number">{"" if value is None else f"{value:.4g}"}</td>'


def _image(content: bytes, alternative: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'
