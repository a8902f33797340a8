"""What the project asks of its figures, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Gate", "ratio_gate"]


@dataclass(frozen=True)
class Gate:
    """A figure and its limit.

    Parameters
    ----------
    what
        Is measured.
    value
        Was measured; None where it could not be.
    least, most
        The limit, one of them.
    why
        Why it was not measured.
    """

    what: str
    value: float | None
    least: float | None = None
    most: float | None = None
    why: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None where nothing was measured."""
        if self.value is None:
            return None
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "holds": self.holds}


def ratio_gate(
    what: str, above: float | None, below: float | None, *,
    least: float | None = None, most: float | None = None, why: str = "",
) -> Gate:  # fmt: skip
    """How many times one figure is the other; not measured where one is missing, or for `why`."""
    if why or above is None or below is None:
        return Gate(what, None, least, most, why or "one of the two is not there")
    return Gate(what, above / below, least, most)
