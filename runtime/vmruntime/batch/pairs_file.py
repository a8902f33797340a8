"""Reading a table of pairs."""

from __future__ import annotations

import csv
from pathlib import Path

from vmruntime.batch.errors import BatchError
from vmruntime.batch.pair import Pair, id_of, require_unique, stem
from vmruntime.errors import one_line

__all__ = ["read_pairs"]

NEEDED = ("moving", "fixed")
OPTIONAL = ("moving_seg", "fixed_seg", "id")


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs from a table.

    Parameters
    ----------
    path
        Text in UTF-8 with a line of column names: ``moving``, ``fixed`` and, where wanted,
        ``moving_seg``, ``fixed_seg``, ``id``, in any order. Columns are separated by commas, by
        tabs where the name ends in ``.tsv``. Relative files are relative to the table's folder.

    Raises
    ------
    BatchError
        The table cannot be read, has no pairs, other columns, a line without a scan, or two equal
        ids. Whether the scans exist is seen when they are registered.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            _require_columns(path, columns)
            pairs = [_pair(path, reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise BatchError(f"{path}: no such file; give a table of pairs") from None
    except OSError as error:
        raise BatchError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BatchError(f"{path}: is no table in UTF-8 ({one_line(error)})") from error
    if not pairs:
        raise BatchError(f"{path}: has no pairs; give one a line")
    require_unique((pair.id for pair in pairs), str(path), "give each its own in a column id")
    return pairs


def _require_columns(path: Path, columns: list[str]) -> None:
    known = ", ".join(NEEDED) + " and perhaps " + ", ".join(OPTIONAL)
    for name in NEEDED:
        if name not in columns:
            raise BatchError(f"{path}: has no column {name!r}; its first line must name {known}")
    for name in columns:
        if name not in NEEDED + OPTIONAL:
            raise BatchError(f"{path}: has a column {name!r}; the columns are {known}")
    if len(set(columns)) < len(columns):
        raise BatchError(f"{path}: names a column twice")


def _pair(path: Path, line: int, row: dict[str, str | None]) -> Pair:
    where = f"{path}, line {line}"
    if None in row or None in row.values():
        raise BatchError(f"{where}: has not as many columns as the first line")
    values = {name: (value or "").strip() for name, value in row.items()}
    for name in NEEDED:
        if not values[name]:
            raise BatchError(f"{where}: has no {name} scan")
    files = {
        name: path.absolute().parent / values[name]
        for name in (*NEEDED, "moving_seg", "fixed_seg")
        if values.get(name)
    }
    given = values.get("id")
    named = given or f"{id_of(stem(files['moving']))[:70]}_to_{id_of(stem(files['fixed']))[:70]}"
    try:
        return Pair(named, named, **files)
    except BatchError as error:
        raise BatchError(f"{where}: {error}") from None
