"""The value of ``--compute-capability``."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["ComputeCapabilities"]


class ComputeCapabilities(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """GPUs as ``86,89,120`` or ``8.6,8.9,12.0``, or ``current`` for this machine's."""

    name = "capabilities"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...] | str:
        """Parse an option's value."""
        if isinstance(value, tuple) or value == "current":
            return value  # type: ignore[no-any-return]
        parts = str(value).split(",")
        if not all(re.fullmatch(r"\d{1,2}\.\d|\d{2,3}", part) for part in parts):
            self.fail(f"{value!r} is not 'current' or a list such as 86,89,120")
        return tuple(dict.fromkeys(int(part.replace(".", "")) for part in parts))
