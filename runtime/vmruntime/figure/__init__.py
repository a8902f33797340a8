"""One page to judge a registration by."""

from vmruntime.figure.draw import draw_figure, figure_png, require_matplotlib

__all__ = ["draw_figure", "figure_png", "require_matplotlib"]
