"""An inference engine whose displacement is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vmruntime.backends import TensorSpec
from vmruntime.errors import BackendError

Field = Callable[[tuple[int, ...]], ArrayLike]
"""Shape ``(D, H, W)`` to a displacement that broadcasts to ``(3, D, H, W)``, in voxels."""


class FakeBackend:
    """A `Backend` that gives an analytic displacement, and remembers what it was fed.

    Parameters
    ----------
    displacement
        What it gives for every pair.
    inverse
        What it gives as the inverse displacement; None for minus the displacement, exact where
        that is constant.
    """

    name = "fake"
    version = "1.0"
    device = "cpu"
    precision = "fp32"
    checks_fields = False

    def __init__(self, displacement: Field, inverse: Field | None = None) -> None:
        free = (1, 1, None, None, None)
        self.inputs = tuple(TensorSpec(name, "float", free) for name in ("moving", "fixed"))
        self.outputs = tuple(
            TensorSpec(name, "float", (1, 3, None, None, None))
            for name in ("displacement", "inverse_displacement")
        )
        self._fields = {
            "displacement": displacement,
            "inverse_displacement": inverse or (lambda shape: -np.asarray(displacement(shape))),
        }
        self.feeds: list[dict[str, NDArray[Any]]] = []
        self.asked: list[tuple[str, ...]] = []
        self.closed = 0

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Give the known fields on the grid of the scans; see `Backend.run`."""
        if self.closed:
            raise BackendError("the fake model is closed; load it again")
        self.feeds.append(dict(feeds))
        self.asked.append(tuple(outputs))
        shape = feeds["fixed"].shape[2:]
        return {
            name: np.broadcast_to(np.asarray(self._fields[name](shape), np.float32), (3, *shape))[
                None
            ].copy()
            for name in outputs
        }

    def close(self) -> None:
        """Count; see `Backend.close`."""
        self.closed += 1


def translation(*voxels: float) -> Field:
    """The same displacement everywhere."""
    return lambda shape: np.array(voxels, np.float32).reshape(3, 1, 1, 1)
