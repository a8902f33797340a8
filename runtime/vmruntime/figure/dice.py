"""Dice of every label as bars."""

from __future__ import annotations

from vmruntime.figure.page import BAD, GOOD, GREY, Page
from vmruntime.quality import Overlap

__all__ = ["draw_dice"]

MOST = 30
"""Bars; with more, the lowest. As many as can be read in the height of three slices."""

THICKEST, SMALLEST_TEXT, LARGEST_TEXT = 30, 13, 16
NAME, VALUE = 66, 44
"""Room for label and figure, in pixels."""


def draw_dice(page: Page, x: int, y: int, w: int, h: int, before: Overlap, after: Overlap) -> None:
    """Bars from the lowest down: before behind, after in front, with its figure.

    Parameters
    ----------
    page
        What is drawn on.
    x, y, w, h
        Where, in pixels.
    before, after
        Dice of the same labels.
    """
    scores = sorted((dice, label) for label, dice in after.labels.items())
    shown, rest = scores[:MOST], scores[MOST:]
    if not shown:
        page.text(x, y, "no label in both scans", LARGEST_TEXT, color=GREY)
        return
    step = min(h // (len(shown) + bool(rest)), THICKEST)
    text = min(max(step - 5, SMALLEST_TEXT), LARGEST_TEXT)
    thick = step - 4
    length = w - NAME - VALUE
    for number, (dice, label) in enumerate(shown):
        top = y + number * step
        start = before.labels.get(label, 0.0)
        colour = GOOD if dice >= start else BAD
        middle = {"va": "center_baseline"}
        name = str(label) if len(str(label)) < 8 else f"\u2026{str(label)[-6:]}"
        page.text(x + NAME - 8, top + step // 2, name, text, ha="right", **middle)
        page.box(x + NAME, top + 2, length, thick, "#ececec")
        page.box(x + NAME, top + 2, length * dice, thick, colour)
        # The thinner bar stays visible whether it is the longer one or not.
        inset = thick // 3
        page.box(x + NAME, top + 2 + inset, length * start, thick - 2 * inset, "#b8b8b8")
        page.text(x + w, top + step // 2, f"{dice:.2f}", text, ha="right", **middle)
    if rest:
        note = f"{len(rest)} more: {rest[0][0]:.2f} to {rest[-1][0]:.2f}"
        page.text(x + NAME, y + len(shown) * step + 2, note, text, color=GREY)
