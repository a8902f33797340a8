"""An INT8 file of the official model, made by vm-calibrate on pairs that are not measured with."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pair

__all__ = ["NoInt8Error", "calibrate"]

PAIRS = (
    {"moving": "oasis_a", "fixed": "oasis_b", "moving_intensity": "none"},
    {"moving": "test_scan", "fixed": "oasis_b", "moving_intensity": ""},
)
"""The scans of OASIS are scaled already."""


BUDGET_MM = 1.2
"""For 99 % of the voxels. The default, .1 mm, declines INT8: docs/calibration.md."""


class NoInt8Error(Exception):
    """There is no INT8 file, and why."""


def calibrate(model: Path, folder: Path, threads: int) -> Path:
    """Run vm-calibrate on a float32 artifact.

    Parameters
    ----------
    model
        The artifact.
    folder
        For what it writes; an INT8 file that is there already is taken.
    threads
        Threads it may use.

    Raises
    ------
    NoInt8Error
        It is not installed, failed, or declined to make the file.
    """
    found = sorted(folder.glob("**/*int8*.onnx"))
    if found:
        return found[0]
    command = Path(sys.executable).with_name("vm-calibrate")
    if not command.exists():
        raise NoInt8Error("vm-calibrate is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    pairs = folder / "pairs.csv"
    write_pairs(pairs)
    done = subprocess.run(
        [
            command, model, "--pairs", pairs, "-o", folder / "calibrated",
            "--precision", "int8", "--budget-mm", str(BUDGET_MM), "--threads", str(threads),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stderr.strip().splitlines() or ["nothing was said"]
    if done.returncode:
        raise NoInt8Error(f"vm-calibrate failed: {said[-1]}")
    found = sorted(folder.glob("**/*int8*.onnx"))
    if not found:
        last = done.stdout.strip().splitlines() or said
        raise NoInt8Error(f"vm-calibrate declined: {last[-1]}")
    return found[0]


def write_pairs(path: Path) -> None:
    """The pairs to calibrate with, as vm-calibrate reads them."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["moving", "fixed", "moving_intensity", "fixed_intensity"])
        writer.writeheader()
        for names in PAIRS:
            scans = {
                role: pair.ASSETS / "scans" / f"{names[role]}_aligned.nii.gz"
                for role in ("moving", "fixed")
            }
            writer.writerow(names | scans | {"fixed_intensity": "none"})
