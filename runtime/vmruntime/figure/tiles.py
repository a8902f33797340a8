"""The figures on top of the page, and what they mean."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

from vmruntime.alignment.checks import DOUBTFUL_CORRELATION
from vmruntime.figure.page import BAD, GOOD, GREY, shorten
from vmruntime.quality import Overlap, Quality
from vmruntime.registration import Registration

__all__ = ["Tile", "tiles_of"]

GIVEN = {
    "none": "scans taken voxel by voxel",
    "header": "the headers are trusted",
    "matrix": "given, not measured",
}


class Tile(NamedTuple):
    """Name, figure, what it means (one or two lines), and in which colour to say it."""

    name: str
    value: str
    note: str
    colour: str


def tiles_of(registration: Registration, quality: Quality) -> list[Tile]:
    """What exists of correlation, error, Dice, folding, affine and inverse consistency."""
    start, end = quality.similarity_before, quality.similarity_after
    tiles = [
        Tile(
            "Correlation (NCC)",
            f"{start.ncc:.3f} \u2192 {end.ncc:.3f}",
            *_verdict(end.ncc - start.ncc),
        ),
        Tile(
            "Mean squared error",
            f"{start.mse:.2g} \u2192 {end.mse:.2g}",
            *_verdict(start.mse - end.mse),
        ),
    ]
    if quality.overlap_before and quality.overlap_after:
        tiles.append(_dice(quality.overlap_before.mean, quality.overlap_after))
    tiles += [_folding(quality), _affine(registration)]
    if quality.consistency:
        found = quality.consistency
        # An inverse that misses by less than a voxel leads back to where it came from.
        small = found.p99_mm < min(registration.pair.fixed.grid.voxel_size)
        note = f"on average\n99 % within {found.p99_mm:.2g} mm"
        tiles.append(Tile("Inverse error", f"{found.mean_mm:.2g} mm", note, GOOD if small else BAD))
    return tiles


def _verdict(gain: float) -> tuple[str, str]:
    return ("better", GOOD) if gain > 0 else ("worse", BAD) if gain < 0 else ("no change", GREY)


def _dice(before: float, after: Overlap) -> Tile:
    scores = after.labels
    name = f"Dice, mean of {len(scores)} label{'s' * (len(scores) != 1)}"
    if not scores:
        return Tile(name, "\u2013", "no label to compare", BAD)
    note, colour = _verdict(after.mean - before)
    dice, label = min((dice, label) for label, dice in scores.items())
    note += f"\nlowest {dice:.2f} (label {label})"
    return Tile(name, f"{before:.3f} \u2192 {after.mean:.3f}", note, colour)


def _folding(quality: Quality) -> Tile:
    count, percent = quality.regularity.folding_voxels, quality.regularity.folding_percent
    note = f"{count or 'no'} voxel{'s' * (count != 1)} turned inside out"
    return Tile("Folding", f"{percent:.2g} %" if count else "none", note, BAD if count else GOOD)


def _affine(registration: Registration) -> Tile:
    source, found = registration.pair.affine_source, registration.pair.alignment
    if found is None:
        name = source if source in GIVEN else "from a file"
        return Tile("Affine", name, GIVEN.get(source, shorten(PurePath(source).name, 26)), GREY)
    largest, _, smallest = found.scale
    note = (
        f"overlap {found.foreground_overlap:.2f}, {found.rotation_degrees:.0f}\u00b0 turned\n"
        f"scaled by {smallest:.2f} to {largest:.2f}"
    )
    good = found.plausible and found.correlation >= DOUBTFUL_CORRELATION
    return Tile("Affine, correlation", f"{found.correlation:.3f}", note, GOOD if good else BAD)
