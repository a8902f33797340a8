"""Tables of a batch: one row a pair, one row a subject."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmruntime.batch.pair import Pair
from vmruntime.batch.record import Record
from vmruntime.io.outputs import Outputs

__all__ = ["FIGURES", "Result", "write_results", "write_volumes"]

NOTHING = "n/a"
"""BIDS' word for a value that does not exist."""

FIGURES = (
    "ncc_before", "ncc_after", "mse_before", "mse_after", "local_ncc_before", "local_ncc_after",
    "dice_before", "dice_after", "foreground_dice_before", "foreground_dice_after",
    "folding_percent", "sd_log_jacobian", "affine_correlation",
)  # fmt: skip

COLUMNS = (
    "id", "subject", "status", *FIGURES, "affine", "warnings", "seconds", "worker", "error",
    "moving", "fixed",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a pair, or a fused subject, came out.

    Parameters
    ----------
    pair
        Which one.
    status
        ``"done"``, ``"failed"`` or ``"pending"`` where the batch was stopped before it.
    figures
        By the names of `FIGURES`; a figure that was not measured is None.
    volumes
        Label: cubic millimetres.
    affine
        Where the affine alignment came from.
    warnings
        Codes.
    seconds
        Time that the pair took, without waiting.
    worker
        Who registered it.
    error
        What went wrong.
    """

    pair: Pair
    status: str
    figures: Mapping[str, float | None]
    volumes: Mapping[int, float]
    affine: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    worker: str = ""
    error: str = ""

    @classmethod
    def of(cls, pair: Pair, record: Record) -> Result:
        """A finished pair."""
        facts = record.facts
        return cls(
            pair,
            "done",
            _figures(facts),
            {int(label): float(value) for label, value in facts["volumes_mm3"].items()},
            str(facts["affine"]["source"]),
            tuple(found["code"] for found in facts["warnings"]),
            record.seconds,
            record.worker,
        )

    @classmethod
    def failed(cls, pair: Pair, error: str) -> Result:
        """A pair that was given up."""
        return cls(pair, "failed", {}, {}, error=error)

    @classmethod
    def pending(cls, pair: Pair) -> Result:
        """A pair that was not come to."""
        return cls(pair, "pending", {}, {})


def _figures(facts: Mapping[str, Any]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for when in ("before", "after"):
        similarity, dice = facts["similarity"][when], facts["dice"]
        for name in ("ncc", "mse", "local_ncc"):
            values[f"{name}_{when}"] = similarity[name]
        values[f"dice_{when}"] = dice[when]["mean"] if dice else None
        values[f"foreground_dice_{when}"] = facts["foreground_dice"][when]
    for name in ("folding_percent", "sd_log_jacobian"):
        values[name] = facts["regularity"][name]
    values["affine_correlation"] = facts["affine"]["correlation"]
    return values


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write a row for each pair.

    Raises
    ------
    OutputError
        The table cannot be written.
    """
    rows = [
        [
            result.pair.id,
            result.pair.subject,
            result.status,
            *(_number(result.figures.get(name)) for name in FIGURES),
            result.affine or NOTHING,
            ",".join(result.warnings) or NOTHING,
            _number(result.seconds),
            result.worker or NOTHING,
            result.error or NOTHING,
            str(result.pair.moving),
            str(result.pair.fixed),
        ]
        for result in results
    ]
    _write(path, COLUMNS, rows)


def write_volumes(path: Path, volumes: Sequence[tuple[str, str, Mapping[int, float]]]) -> None:
    """Write a row for each subject, a column for each label, in cubic millimetres.

    Parameters
    ----------
    path
        Where to.
    volumes
        Subject, whose labels they are (a pair's id, or ``"fused"``), and volume by label. A label
        that a subject does not have is 0.

    Raises
    ------
    OutputError
        The table cannot be written.
    """
    labels = sorted({label for *_, found in volumes for label in found})
    rows = [
        [subject, source, *(f"{found.get(label, 0):.8g}" for label in labels)]
        for subject, source, found in volumes
    ]
    _write(path, ("subject", "source", *map(str, labels)), rows)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.6g}"


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with (
        Outputs(force=True) as outputs,
        # Text of errors and names of files may hold bytes that are no UTF-8.
        open(
            outputs.file(path), "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file,
    ):
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(columns)
        table.writerows([_flat(value) for value in row] for row in rows)


def _flat(value: str) -> str:
    return " ".join(value.split()) if any(c in value for c in "\t\n\r") else value
