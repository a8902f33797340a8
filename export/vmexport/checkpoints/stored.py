"""What a checkpoint file holds, before any layout is recognized in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Stored:
    """Contents of a file, the same for every container.

    Attributes
    ----------
    path
        For messages.
    container
        ``"torch"`` or ``"keras"``.
    config
        The model's stored options, or None where the file has none.
    weights
        Tensors by the name they have in the file, in the file's order. Keras kernels are
        already transposed to ``(out, in, D, H, W)`` and named ``layer/kernel``.
    keys
        Names to show to somebody whose file is not recognized.
    layers
        Keras layers in order, those without weights too; empty for torch.
    """

    path: Path
    container: Literal["torch", "keras"]
    config: Mapping[str, Any] | None
    weights: Mapping[str, Tensor]
    keys: tuple[str, ...]
    layers: tuple[str, ...] = ()
