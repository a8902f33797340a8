"""Warnings about an alignment, and when it is evidently wrong."""

from __future__ import annotations

from dataclasses import dataclass

from vmruntime.alignment.appearance import looks_like_head, touches_edge
from vmruntime.alignment.pyramid import Pyramid

__all__ = ["DOUBTFUL_CORRELATION", "Figures", "looks_of_scans", "reason_against", "warnings_about"]

# Correlation at 8 mm over 44 pairs of 12 skull-stripped T1 scans and templates: right answers reach
# .964 to .995; the best wrong ones (by half a turn) .944 to .968, the median wrong one .92; a whole
# head on a brain .83 to .92.
DOUBTFUL_CORRELATION = 0.965
"""Below it a right answer is rare."""

WRONG_CORRELATION = 0.93
# Between adult brains singular values of .83 to 1.25 occur; a child's or a header that is off by
# a quarter adds to that.
SMALLEST_SCALE, LARGEST_SCALE = 0.4, 2.5
LEAST_OVERLAP = 0.7
MOST_OUTSIDE = 0.5

Finding = tuple[str, str]
"""A warning: its stable code and one line of text."""


@dataclass(frozen=True)
class Figures:
    """What an alignment is judged by; see `Alignment` for the fields."""

    correlation: float
    foreground_overlap: float
    fixed_outside: float
    scale: tuple[float, float, float]


def looks_of_scans(moving: Pyramid, fixed: Pyramid) -> tuple[Finding, ...]:
    """Warnings that follow from the two scans alone."""
    found: list[Finding] = []
    scans = {"moving": moving, "fixed": fixed}
    cut = [name for name, scan in scans.items() if touches_edge(scan)]
    if cut:
        found.append(
            (
                "foreground-at-edge",
                f"the foreground of the {' and the '.join(cut)} scan touches the edge of the "
                "field of view; what is cut off cannot be aligned",
            )
        )
    heads = [name for name, scan in scans.items() if looks_like_head(scan)]
    if len(heads) == 1:
        found.append(
            (
                "skull-strip-mismatch",
                f"the {heads[0]} scan looks like a whole head, the other one skull-stripped; "
                "skull-strip both",
            )
        )
    elif heads:
        found.append(
            (
                "not-skull-stripped",
                "both scans look like whole heads; brain models expect skull-stripped scans",
            )
        )
    return tuple(found)


def warnings_about(figures: Figures) -> tuple[Finding, ...]:
    """Warnings that follow from how well the scans match."""
    if figures.correlation >= DOUBTFUL_CORRELATION:
        return ()
    return (
        (
            "affine-low-correlation",
            f"after the affine alignment the scans correlate with {figures.correlation:.3f}, "
            f"right alignments of brains reach {DOUBTFUL_CORRELATION}; look at the result, "
            "or search all rotations",
        ),
    )


def reason_against(figures: Figures, looks: tuple[Finding, ...]) -> str:
    """Why an alignment is evidently wrong, one line; empty where it is not.

    Parameters
    ----------
    figures
        How well the scans match.
    looks
        What `looks_of_scans` found, which may explain a bad match.
    """
    reasons = []
    if not figures.correlation >= WRONG_CORRELATION:
        reasons.append(
            f"the scans correlate with {figures.correlation:.3f}, at least {WRONG_CORRELATION} "
            "is expected"
        )
    if not figures.foreground_overlap >= LEAST_OVERLAP:
        reasons.append(
            f"the foregrounds overlap with a Dice of {figures.foreground_overlap:.2f}, at least "
            f"{LEAST_OVERLAP} is expected"
        )
    if not figures.fixed_outside <= MOST_OUTSIDE:
        reasons.append(
            f"{figures.fixed_outside:.0%} of the fixed foreground lies outside the moving scan"
        )
    largest, _, smallest = figures.scale
    if not (smallest >= SMALLEST_SCALE and largest <= LARGEST_SCALE):
        reasons.append(
            f"it scales by {smallest:.2f} to {largest:.2f}, {SMALLEST_SCALE} to {LARGEST_SCALE} "
            "are expected"
        )
    if reasons:
        reasons += [text for code, text in looks if code == "skull-strip-mismatch"]
    return "; ".join(reasons)
