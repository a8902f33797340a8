"""How the pairs of a batch are registered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Settings"]

WRITABLE = ("moved", "labels", "warp", "inverse", "affine", "jacobian", "report", "figure")
"""What can be written of a pair; ``labels`` only where there are some."""


@dataclass(frozen=True)
class Settings:
    """Options of ``vm-infer`` for every pair, by their names there.

    Parameters
    ----------
    write
        Which of `WRITABLE` are kept.
    local_correlation
        Also measure the local correlation, as ``vm-infer --report`` does; it takes longer than the
        registration.
    """

    write: tuple[str, ...] = ("moved", "labels", "warp", "report")
    affine: str | None = None
    affine_search: Literal["quick", "full"] = "quick"
    force_affine: bool = False
    reference: Path | None = None
    image_interp: Literal["linear", "cubic"] = "linear"
    interp: Literal["nearest", "label"] = "nearest"
    intensity: str | None = None
    moving_intensity: str | None = None
    fixed_intensity: str | None = None
    dice_labels: tuple[int, ...] | None = None
    local_correlation: bool = False
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"

    def files(self) -> dict[str, Path]:
        """Role: file, of the files that the options name."""
        found = {} if self.reference is None else {"reference": self.reference}
        if self.affine not in (None, "auto", "none", "header"):
            found["affine"] = Path(str(self.affine))
        return found

    def to_key(self) -> dict[str, Any]:
        """What a result depends on, as JSON values; of files that there is one.

        Which GPU does not matter.
        """
        values = asdict(self) | dict.fromkeys(self.files(), "file")
        values["reference"] = "file" if self.reference else None
        values["device"] = self.device.partition(":")[0]
        values["write"] = sorted(self.write)
        values["dice_labels"] = None if self.dice_labels is None else list(self.dice_labels)
        return values
