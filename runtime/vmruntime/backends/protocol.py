"""What every inference engine offers the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Backend", "TensorSpec"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of a model's input or output; None is a free axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Backend(Protocol):
    """A model loaded into an inference engine.

    `run` may be called from several threads at once; `close` may be called any number of times,
    but not while a `run` is under way.
    """

    name: str
    """Engine, as `open_backend` knows it."""
    version: str
    """Engine's version."""
    device: str
    """What it runs on, such as ``"cpu"``."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs, and only those where the engine can.

        Parameters
        ----------
        feeds
            One array for each input.
        outputs
            Names of the outputs that are wanted.

        Raises
        ------
        BackendError
            The engine failed, or is closed.
        """

    def close(self) -> None:
        """Release the engine's memory."""
