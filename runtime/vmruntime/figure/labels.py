"""Label images as colours and lines."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CYCLE", "colours_of", "fill", "outline"]

CYCLE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Label colours for every kind of colour vision (Okabe and Ito 2008, less yellow: white lines)."""


def colours_of(slices: list[NDArray[Any]]) -> dict[int, tuple[int, int, int]]:
    """A colour for every label but 0; those that touch get different ones where possible."""
    near: dict[int, set[int]] = {}
    for part in slices:
        near |= {label: near.get(label, set()) for label in np.unique(part).tolist()}
        for one, other in ((part[1:], part[:-1]), (part[:, 1:], part[:, :-1])):
            border = one != other
            for a, b in set(zip(one[border].tolist(), other[border].tolist(), strict=True)):
                near[a].add(b)
                near[b].add(a)
    colours: dict[int, tuple[int, int, int]] = {}
    for label in sorted(near.keys() - {0}):
        taken = Counter(colours.get(other) for other in near[label])
        used = Counter(colours.values())
        colours[label] = min(CYCLE, key=lambda colour: (taken[colour], used[colour]))
    return colours


def fill(part: NDArray[Any], colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """``(rows, columns)`` labels as translucent colours, ``(rows, columns, 4)`` uint8 RGBA."""
    values, where = np.unique(part, return_inverse=True)
    table = [(*colours[value], 160) if value else (0, 0, 0, 0) for value in values.tolist()]
    return np.array(table, np.uint8)[where.reshape(part.shape)]


def outline(part: NDArray[Any], w: int, h: int) -> NDArray[np.uint8]:
    """Borders of labels as white lines one pixel wide, ``(h, w, 4)`` uint8 RGBA."""
    rows, columns = part.shape
    large = part[np.arange(h) * rows // h][:, np.arange(w) * columns // w]
    edge = np.zeros((h, w), bool)
    edge[1:] |= large[1:] != large[:-1]
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    return np.repeat(edge[..., None] * np.uint8(255), 4, axis=2)
