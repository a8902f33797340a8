"""Kinds of option values that click does not have."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["DeviceText", "IntensityRuleText", "Numbers"]


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """Numbers separated by commas.

    Parameters
    ----------
    kind
        ``int`` or ``float``; every number must be positive.
    count
        How many there must be; None for any.
    """

    def __init__(self, kind: type[int] | type[float], count: int | None = None) -> None:
        self.kind = kind
        self.count = count
        self.name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """Parse an option's value."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        right = len(numbers) == self.count if self.count else len(numbers) > 0
        if not right or not all(0 < number < math.inf for number in numbers):
            amount = self.count or "one or more"
            whole = "whole " if self.kind is int else ""
            self.fail(f"{value!r} is not {amount} positive {whole}numbers separated by commas")
        return numbers


class DeviceText(click.ParamType):  # type: ignore[type-arg]
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""

    name = "device"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Check an option's value."""
        kind, colon, number = str(value).partition(":")
        numbered = kind == "cuda" and number.isascii() and number.isdigit()
        if not (numbered if colon else kind in ("auto", "cpu", "cuda")):
            self.fail(f"{value!r} is not one of auto, cpu, cuda, cuda:N")
        return str(value)


class IntensityRuleText(click.ParamType):  # type: ignore[type-arg]
    """An intensity rule, checked and handed on as text."""

    name = "rule"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Check an option's value."""
        from vmruntime.errors import ManifestError
        from vmruntime.intensity import IntensityRule

        try:
            return str(IntensityRule.parse(str(value)))
        except ManifestError as error:
            self.fail(str(error))
