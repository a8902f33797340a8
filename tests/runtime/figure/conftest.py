"""What is drawn on a page."""

from __future__ import annotations

from typing import Any

import pytest

from vmruntime.figure.page import Page


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every image that is drawn: its page, place, array and style."""
    images: list[dict[str, Any]] = []
    draw, lines = Page.image, Page.lines

    def record(page: Page, x: int, y: int, w: int, h: int, data: Any, style: Any) -> None:
        images.append({"page": page, "box": (x, y, w, h), "data": data, "style": style})
        draw(page, x, y, w, h, data, style)

    def record_lines(
        page: Page, x: int, y: int, w: int, h: int, data: Any, levels: Any, style: Any
    ) -> None:
        images.append({"page": page, "box": (x, y, w, h), "data": data, "levels": levels})
        lines(page, x, y, w, h, data, levels, style)

    monkeypatch.setattr(Page, "image", record)
    monkeypatch.setattr(Page, "lines", record_lines)
    return images
