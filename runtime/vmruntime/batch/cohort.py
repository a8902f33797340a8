"""Atlases and the subjects that they are carried onto."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmruntime.batch.errors import BatchError
from vmruntime.batch.pair import Pair, id_of, require_unique, stem

__all__ = ["Atlas", "cohort_of", "find_subjects", "parse_atlas"]

T1W = re.compile(r"_T1w\.(nii|nii\.gz)$")


@dataclass(frozen=True)
class Atlas:
    """A scan with labels.

    Parameters
    ----------
    scan, labels
        Its files.
    """

    scan: Path
    labels: Path


def parse_atlas(text: str) -> Atlas:
    """``SCAN:LABELS`` as two files, absolute, for workers may run elsewhere.

    Raises
    ------
    BatchError
        There are not two names; a name with a colon in it cannot be given.
    """
    names = text.split(":")
    if len(names) != 2 or not all(names):
        raise BatchError(f"--atlas {text}: give a scan and its labels as SCAN:LABELS")
    return Atlas(Path(names[0]).absolute(), Path(names[1]).absolute())


def find_subjects(where: str) -> list[tuple[str, Path]]:
    """Scans of a cohort and what they are called, sorted by name.

    Parameters
    ----------
    where
        A pattern such as ``scans/*.nii.gz`` (``**`` goes through folders), or a BIDS data set: of
        that every ``sub-*/[ses-*/]anat/*_T1w.nii[.gz]``, called by its entities.

    Raises
    ------
    BatchError
        Nothing is found, or two scans would be called the same.
    """
    folder = Path(where)
    if folder.is_dir():
        found = [
            path
            for pattern in ("sub-*/anat/*_T1w.nii*", "sub-*/ses-*/anat/*_T1w.nii*")
            for path in folder.glob(pattern)
            if T1W.search(path.name)
        ]
        named = [(T1W.sub("", path.name), path) for path in found]
        missing = "holds no sub-*/[ses-*/]anat/*_T1w.nii[.gz]; give a BIDS data set or a pattern"
    else:
        # Of `pathlib` no pattern can be absolute.
        paths = [Path(name) for name in glob.glob(where, recursive=True)]  # noqa: PTH207
        named = [(id_of(stem(path)), path) for path in paths if path.is_file()]
        missing = "no file matches; give a pattern such as 'scans/*.nii.gz' (in quotes)"
    if not named:
        raise BatchError(f"--subjects {where}: {missing}")
    named = sorted((name, path.absolute()) for name, path in named)
    require_unique(
        (name for name, _ in named), f"--subjects {where}", "rename one, or use --pairs with ids"
    )
    return named


def cohort_of(atlases: Sequence[Atlas], subjects: Sequence[tuple[str, Path]]) -> list[Pair]:
    """Every atlas onto every subject; the atlases of a subject follow each other."""
    labels = _labels(atlases)
    return [
        Pair(f"{name[:100]}_atlas-{label}", name, atlas.scan, scan, atlas.labels)
        for name, scan in subjects
        for label, atlas in zip(labels, atlases, strict=True)
    ]


def _labels(atlases: Sequence[Atlas]) -> list[str]:
    """BIDS labels (letters and digits) of atlases: their files' names, numbered where equal."""
    plain = [re.sub(r"[^A-Za-z0-9]", "", stem(a.scan))[:30] or "atlas" for a in atlases]
    lower = [name.lower() for name in plain]
    return [
        name if lower.count(name.lower()) == 1 else f"{name}{number}"
        for number, name in enumerate(plain, 1)
    ]
