"""Puts the tables into the documents, and says where a document is behind the results.

    .venv/bin/python benchmarks/documents.py [--check]

Between ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->`` of README.md and docs/*.md stands what
`tables.BLOCKS` makes of benchmarks/results; nobody writes there by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
from tables import BLOCKS

__all__ = ["RESULTS", "blocks_of", "documents", "render", "update"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"<!-- bench:(?P<name>[\w-]+) -->\n.*?<!-- /bench:(?P=name) -->", re.DOTALL)


def documents() -> list[Path]:
    """Every document that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks_of(text: str) -> list[str]:
    """Names of the blocks in a document."""
    return [match["name"] for match in MARKED.finditer(text)]


def render(name: str, results: Path = RESULTS) -> str:
    """What stands in a block.

    Raises
    ------
    KeyError
        There is no such block.
    FileNotFoundError
        The result that it is made of is not there.
    """
    parts, make = BLOCKS[name]
    return make(*(json.loads((results / f"{part}.json").read_text()) for part in parts))


def update(text: str, results: Path = RESULTS) -> str:
    """A document with all its blocks as the results have them."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- bench:{name} -->\n{render(name, results)}\n<!-- /bench:{name} -->"

    return MARKED.sub(block, text)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail where a document is behind.")
def main(check: bool) -> None:
    """Update all documents."""
    behind = []
    for path in documents():
        text = path.read_text()
        wanted = update(text)
        if wanted != text:
            behind.append(path.name)
            if not check:
                path.write_text(wanted)
    if behind:
        click.echo(f"{'behind the results' if check else 'updated'}: {', '.join(behind)}")
    if check and behind:
        sys.exit(1)


if __name__ == "__main__":
    main()
