"""Reading the options a network was built with, whatever types they were stored as."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vmexport.checkpoints.errors import CheckpointError

# for channels and sizes; a product of two such does not overflow what a tensor can count
_MOST = 2**16


class Options:
    """A stored config, each option checked as it is taken.

    Parameters
    ----------
    path
        The file, for messages.
    config
        The options by name.
    known
        Every name whose meaning is known.

    Raises
    ------
    CheckpointError
        If there are other names: they could change what the network does.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], known: Iterable[str]) -> None:
        self.path = path
        self.config = config
        unknown = sorted({str(name) for name in config} - set(known))
        if unknown:
            raise CheckpointError(
                f"{path}: unknown config options {', '.join(map(repr, unknown))}; expected those "
                "of voxelmorph 0.2's VxmDense; the network may differ, so it cannot be exported"
            )

    def error(
        self, name: str, expected: str, remedy: str = "this network cannot be exported"
    ) -> CheckpointError:
        """Make the error for an option: its value, what was expected, what to do."""
        found = repr(self.config.get(name))
        if len(found) > 80:
            found = found[:77] + "..."
        return CheckpointError(f"{self.path}: config {name}={found}; expected {expected}; {remedy}")

    def given(self, name: str) -> bool:
        """Whether the option is there and not None."""
        return self.config.get(name) is not None

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Return a whole number within bounds; `default` where it is absent."""
        number = whole(self.config.get(name, default))
        if number is None or not lowest <= number <= highest:
            raise self.error(name, f"a whole number from {lowest} to {highest}")
        return number

    def number(self, name: str, default: float) -> float:
        """Return a positive number, as an int where it is one; `default` where it is absent."""
        value = self.config.get(name, default)
        exact = whole(value)
        if exact is not None:
            value = exact
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            raise self.error(name, "a positive number")
        return value

    def flag(self, name: str) -> bool:
        """Return a truth value; False where it is absent or None."""
        value = self.config.get(name)
        if value is None:
            return False
        if isinstance(value, bool):
            return value
        number = whole(value)
        if number not in (0, 1):
            raise self.error(name, "True or False")
        return bool(number)

    def integers(self, name: str, values: object) -> list[int]:
        """Return `values`, a part of option `name`, as a list of whole numbers from 1 to 65536."""
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise self.error(name, "lists of whole numbers")
        numbers = [whole(value) for value in values]
        checked = [number for number in numbers if number is not None and 0 < number <= _MOST]
        if len(checked) != len(numbers):
            raise self.error(name, f"whole numbers from 1 to {_MOST}")
        return checked

    def inshape(self) -> tuple[int, int, int]:
        """Return the grid; a network on another number of axes than three is refused."""
        if not self.given("inshape"):
            raise self.error("inshape", "three sizes", "save the model with VxmDense.save")
        sizes = self.integers("inshape", self.config["inshape"])
        if len(sizes) != 3:
            raise self.error(
                "inshape", "three sizes", f"a {len(sizes)}-D network cannot be exported, only 3-D"
            )
        return sizes[0], sizes[1], sizes[2]


def whole(value: Any) -> int | None:
    """Return a whole number of any type (int, NumPy, 0-d tensor, 2.0) as an int, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        return None
