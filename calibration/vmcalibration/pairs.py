"""The list of pairs to calibrate with: a CSV file, or a folder of files named alike."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

from vmcalibration.errors import CalibrationError
from vmruntime.errors import one_line

__all__ = ["PairFiles", "read_pairs"]

REQUIRED = ("moving", "fixed")
OPTIONAL = ("moving_seg", "fixed_seg", "moving_intensity", "fixed_intensity")
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh")


@dataclass(frozen=True)
class PairFiles:
    """Where the scans of one pair are.

    Parameters
    ----------
    name
        For messages and the report.
    moving, fixed
        The scans.
    moving_seg, fixed_seg
        Their segmentations, or None.
    moving_intensity, fixed_intensity
        Rules used instead of the manifest's, or None.
    """

    name: str
    moving: Path
    fixed: Path
    moving_seg: Path | None = None
    fixed_seg: Path | None = None
    moving_intensity: str | None = None
    fixed_intensity: str | None = None


def read_pairs(path: str | os.PathLike[str]) -> tuple[PairFiles, ...]:
    """Read a list of pairs. Whether the scans can be read is found out later, one by one.

    Parameters
    ----------
    path
        A CSV file with the columns ``moving`` and ``fixed`` and, if wanted, ``moving_seg``,
        ``fixed_seg``, ``moving_intensity`` and ``fixed_intensity``; paths are relative to it. Or a
        folder with ``NAME_moving.nii.gz``, ``NAME_fixed.nii.gz`` and, if there,
        ``NAME_moving_seg.nii.gz`` and ``NAME_fixed_seg.nii.gz`` (or .nii, .mgz, .mgh).

    Raises
    ------
    CalibrationError
        There is no such file, it has no pairs, or it is not as above.
    """
    path = Path(path)
    pairs = _from_folder(path) if path.is_dir() else _from_csv(path)
    if not pairs:
        raise CalibrationError(
            f"{path}: has no pairs; one line for each is expected below the heading moving,fixed"
            if path.is_file()
            else f"{path}: has no pairs; NAME_moving.nii.gz and NAME_fixed.nii.gz are expected"
        )
    return pairs


def _from_csv(path: Path) -> tuple[PairFiles, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise CalibrationError(f"{path}: is no text in UTF-8; a CSV file is expected") from None
    try:
        rows = list(csv.reader(text.splitlines(), strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise CalibrationError(f"{path}: is no CSV file ({one_line(error)})") from None
    rows = [[cell.strip() for cell in row] for row in rows]
    heading, lines = (rows[0] if rows else []), rows[1:]
    if not any(any(row) for row in rows):
        return ()
    unknown = [name for name in heading if name not in (*REQUIRED, *OPTIONAL)]
    twice = [name for name in heading if heading.count(name) > 1]
    if any(name not in heading for name in REQUIRED) or unknown or twice:
        fault = f", not {(unknown or twice or heading)[0]!r}" if heading else ""
        raise CalibrationError(
            f"{path}: its first line must name the columns moving,fixed and may name "
            f"{','.join(OPTIONAL)}{fault}"
        )
    pairs = []
    for number, row in enumerate(lines, start=2):
        if not any(row):
            continue
        if len(row) > len(heading):
            raise CalibrationError(
                f"{path}: line {number} has {len(row)} values for {len(heading)} columns"
            )
        cells = dict(zip(heading, row, strict=False))
        for name in REQUIRED:
            if not cells.get(name):
                raise CalibrationError(f"{path}: line {number} has no {name} scan")
        pairs.append(_pair(path.parent, cells))
    return _distinct(pairs)


def _pair(folder: Path, cells: dict[str, str]) -> PairFiles:
    files = {name: folder / cells[name] for name in (*REQUIRED, *OPTIONAL[:2]) if cells.get(name)}
    rules = {name: cells[name] for name in OPTIONAL[2:] if cells.get(name)}
    name = f"{_stem(files['moving'])} -> {_stem(files['fixed'])}"
    return PairFiles(
        name,
        files["moving"],
        files["fixed"],
        files.get("moving_seg"),
        files.get("fixed_seg"),
        rules.get("moving_intensity"),
        rules.get("fixed_intensity"),
    )


def _from_folder(folder: Path) -> tuple[PairFiles, ...]:
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        stem = _stem(file)
        for role in (*OPTIONAL[:2], *REQUIRED):  # the longer endings first
            if stem != file.name and stem.endswith(f"_{role}") and file.is_file():
                roles = found.setdefault(stem.removesuffix(f"_{role}"), {})
                if role in roles:
                    raise CalibrationError(
                        f"{folder}: has both {roles[role].name} and {file.name}; remove one"
                    )
                roles[role] = file
                break
    pairs = []
    for name, roles in found.items():
        for role in REQUIRED:
            if role not in roles:
                raise CalibrationError(
                    f"{folder}: has {next(iter(roles.values())).name} but no {name}_{role} scan "
                    "beside it"
                )
        pairs.append(
            PairFiles(
                name,
                roles["moving"],
                roles["fixed"],
                roles.get("moving_seg"),
                roles.get("fixed_seg"),
            )
        )
    return tuple(pairs)


def _distinct(pairs: list[PairFiles]) -> tuple[PairFiles, ...]:
    """Names that occur once; the second of two equal ones gets a number."""
    seen: dict[str, int] = {}
    result = []
    for pair in pairs:
        seen[pair.name] = seen.get(pair.name, 0) + 1
        count = seen[pair.name]
        result.append(pair if count == 1 else replace(pair, name=f"{pair.name} ({count})"))
    return tuple(result)


def _stem(path: Path) -> str:
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name
