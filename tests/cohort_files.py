"""A small cohort, its tables, and what vm-batch left in a folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cohort:
    """Files of a cohort, read only: scans and their labels, by number."""

    folder: Path
    scans: tuple[Path, ...]
    labels: tuple[Path, ...]

    def table(self, path: Path, count: int, *, labels: bool = True) -> Path:
        """A table of `count` pairs called p00, p01, ..., the first scans carried onto others."""
        rows = []
        for number in range(count):
            moving, fixed = number % 2, 2 + number % (len(self.scans) - 2)
            row = [self.scans[moving], self.scans[fixed]]
            row += [self.labels[moving], self.labels[fixed]] if labels else []
            rows.append([*row, f"p{number:02}"])
        return write_table(path, rows, labels=labels)


def write_table(path: Path, rows: list[list[object]], *, labels: bool = False) -> Path:
    """A table of pairs as a spreadsheet writes it."""
    names = ["moving", "fixed", *(["moving_seg", "fixed_seg"] if labels else []), "id"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a table that vm-batch wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def hidden(folder: Path) -> list[str]:
    """Files below a folder that begin with a point: what is half written."""
    return sorted(path.name for path in folder.rglob(".*") if path.is_file())
