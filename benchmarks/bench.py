"""The CPU benchmark: everything side by side on this machine, in one run.

    .venv/bin/python benchmarks/bench.py [PART...] [--rounds 5] [--threads N] [--int8 model.onnx]

Parts: ``engines`` (the pair by every engine, warm), ``scaling`` (volume, threads, pairs in one
process), ``cold`` (process start to files on disk), ``classical`` (ANTs), ``real_pairs`` (every
official model on every pair); all of them unless some are named. Each writes its JSON, a page and a
plot into benchmarks/results, and the tables of the documents follow. Needs ../shared/assets or
$VM_ASSETS, and the test extra; ``classical`` installs antspyx into build/.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import documents
import pair
import part_classical
import part_cold
import part_engines
import part_scaling
import real_pairs
from context import Context
from machine import describe_machine
from plots import PLOTS, draw
from tables import PARTS as PAGES
from tables import machine as machine_line

PARTS: dict[str, Callable[[Context], dict[str, Any]]] = {
    "engines": part_engines.measure,
    "scaling": part_scaling.measure,
    "cold": part_cold.measure,
    "classical": part_classical.measure,
    "real_pairs": lambda context: real_pairs.measure_all(context.rounds, context.say),
}

PACKAGES = ("numpy", "nibabel", "torch", "onnxruntime", "openvino", "voxelmorph")

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--threads", type=click.IntRange(1), default=len(os.sched_getaffinity(0)), show_default=True
)
@click.option("--int8", type=FILE, help="An INT8 model of vm-calibrate.  [default: made]")
@click.option("--ants-limit", default=600.0, show_default=True, help="Seconds.")
@click.option(
    "--ants", "ants_settings", multiple=True, default=("SyNOnly", "SyN"), show_default=True,
    help="ANTs' type_of_transform, any number; SyNCC takes long.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path),
    help="Work there, on the models that an earlier run exported there if any.",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), default=documents.RESULTS,
    help="Write there instead, and leave the documents alone.",
)  # fmt: skip
def main(
    parts: tuple[str, ...], rounds: int, threads: int, int8: Path | None, ants_limit: float,
    ants_settings: tuple[str, ...], keep: Path | None, results: Path,
) -> None:  # fmt: skip
    """Measure PARTS, and write results, pages, plots and the documents' tables."""
    pair.require_assets()
    results.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]  # of others: nothing was measured yet
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        context = Context(
            folder, rounds, threads, int8, ants_limit, ants_settings
        )  # fmt: skip
        for part in parts or PARTS:
            start = time.perf_counter()
            facts = {
                "part": part,
                "machine": describe_machine(PACKAGES),
                "load_before": load,
                **PARTS[part](context),
            }
            facts["seconds_of_this_benchmark"] = round(time.perf_counter() - start, 1)
            click.echo(write(part, facts, results))
    if results.resolve() == documents.RESULTS:
        for path in documents.documents():
            path.write_text(documents.update(path.read_text()))


def write(part: str, facts: dict[str, Any], results: Path) -> str:
    """Write a part's JSON, page and plot; gives the page."""
    (results / f"{part}.json").write_text(json.dumps(facts, indent=1) + "\n")
    page = [f"# {part}", machine_line(facts), *PAGES[part](facts)]
    if part in PLOTS:
        draw(part, facts, results / f"{part}.png")
        page.append(f"![plot of {part}]({part}.png)")
    text = "\n\n".join(page) + "\n"
    (results / f"{part}.md").write_text(text)
    return text


if __name__ == "__main__":
    main()
