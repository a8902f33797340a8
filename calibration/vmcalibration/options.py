"""What a calibration is to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CalibrationOptions", "Method", "Wanted"]

Method = Literal["minmax", "percentile", "entropy"]
Wanted = Literal["auto", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class CalibrationOptions:
    """What may be lost, and how INT8's thresholds are found.

    Parameters
    ----------
    precision
        The number format to try; ``"auto"`` for all of them.
    budget_mm
        Largest displacement error against float32 that 99 % of the voxels may have, in every pair.
    budget_dice
        Largest loss of mean Dice against float32, in every pair that has labels.
    method
        How INT8's thresholds follow from the ranges.
    intensity
        Rule used instead of the manifest's for every scan; None for the manifest's.
    labels
        Labels to measure Dice on; None for all that both segmentations of a pair have.
    backend
        Engine to measure seconds and memory on; ``"auto"`` for the one that vm-infer would take.
    threads
        Threads to use; None for all cores.
    repeats
        Timed runs of each candidate.
    """

    precision: Wanted = "auto"
    budget_mm: float = 0.1
    budget_dice: float = 0.002
    method: Method = "minmax"
    intensity: str | None = None
    labels: tuple[int, ...] | None = None
    backend: str = "auto"
    threads: int | None = None
    repeats: int = 5

    def tries(self, precision: str) -> bool:
        """Whether a number format is to be looked at."""
        return self.precision in ("auto", precision)
