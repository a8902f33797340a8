"""A page that is laid out in pixels from its top left corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BAD", "DPI", "GOOD", "GREY", "INK", "Page", "Style", "shorten"]

DPI = 100

INK, GREY, GOOD, BAD = "#1a1a1a", "#606060", "#0072b2", "#c04f00"
"""Blue and vermilion differ for every kind of colour vision, and as greys."""

LONGEST_NAME = 30  # characters

Style = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Page:
    """Text, images, lines and boxes, placed in pixels.

    Parameters
    ----------
    figure
        What is drawn on, at `DPI`.
    axes
        The whole page, in pixels: axes for every picture would take as long as all the rest.
    """

    figure: Figure
    axes: Axes

    @classmethod
    def blank(cls, width: int, height: int) -> Page:
        """A white page."""
        from matplotlib.figure import Figure

        figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.autoscale(enable=False)
        return cls(figure, axes)

    def text(self, x: int, y: int, text: str, height: int, **style: Any) -> None:
        """Plain text, no formulas, hanging from `y`."""
        across, down = self.figure.bbox.size
        # A character that the font lacks would be a warning on the user's terminal.
        known = "".join(
            c if c < "\u0250" or c in "\u2212\u2192\u2013\u2026\u2082" else "?" for c in text
        )
        plain: Style = {
            "va": "top",
            "color": INK,
            "family": "DejaVu Sans",
            "parse_math": False,
        }
        self.figure.text(x / across, 1 - y / down, known, size=height * 72 / DPI, **plain | style)

    def image(self, x: int, y: int, w: int, h: int, data: NDArray[Any], style: Style) -> None:
        """An image in a frame; its top left corner is at (`x`, `y`)."""
        self.axes.imshow(data, aspect="auto", extent=(x, x + w, y + h, y), **style)
        self._frame(x, y, w, h)

    def lines(
        self,
        x: int,
        y: int,
        w: int,
        h: int,
        data: NDArray[Any],
        levels: NDArray[np.float64],
        style: Style,
    ) -> None:
        """Lines where an image would have the values `levels`, over the place of that image."""
        crossed = levels[(levels > data.min()) & (levels < data.max())]
        if crossed.size and min(data.shape) > 1:  # Matplotlib warns, or refuses.
            rows, columns = data.shape
            across = x + (np.arange(columns) + 0.5) * w / columns
            down = y + (np.arange(rows) + 0.5) * h / rows
            self.axes.contour(across, down, data, levels=crossed, **style)
        self._frame(x, y, w, h)

    def box(self, x: int, y: int, w: float, h: int, colour: str) -> None:
        """A filled box without a border, behind all text."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), w, h, facecolor=colour, linewidth=0))

    def _frame(self, x: int, y: int, w: int, h: int) -> None:
        from matplotlib.patches import Rectangle

        frame = Rectangle((x, y), w, h, fill=False, edgecolor="#b0b0b0", linewidth=0.8)
        self.axes.add_patch(frame)


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """A name without its middle where it is too long; both ends tell files apart."""
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}\u2026{name[len(name) - (longest - 1) // 2 :]}"
