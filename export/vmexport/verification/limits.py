"""How far an artifact may be from its source."""

from __future__ import annotations

from dataclasses import dataclass

from vmexport.errors import VerificationError
from vmruntime.quality import Agreement

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Largest displacement error that is accepted, in voxels.

    Parameters
    ----------
    max
        Anywhere.
    p99
        For 99 % of the voxels; None where only the maximum counts.
    """

    max: float
    p99: float | None = None

    @classmethod
    def of(cls, precision: str, largest: float | None = None, p99: float | None = None) -> Limits:
        """Limits of a precision, each replaced where a number is given.

        float32 engines differ by the order of their sums: up to some 1e-4 voxel on the official
        model. A float16 U-Net differs by 0.0025 on average and 0.1 at worst (FACTS: official
        model, real pair); INT8 by 0.3 on average and 1 to 2 at worst (docs/calibration.md).
        """
        usual = USUAL.get(precision) or cls(1e-3)
        return cls(usual.max if largest is None else largest, usual.p99 if p99 is None else p99)

    def require(self, found: Agreement, source: str = "checkpoint") -> None:
        """Raise `VerificationError` where the error is over a limit, or not a number.

        Parameters
        ----------
        found
            The difference.
        source
            What the artifact was compared with, for the message.
        """
        for name, limit, value in (("max", self.max, found.max), ("p99", self.p99, found.p99)):
            # "not <=" so that NaN fails.
            if limit is not None and not value <= limit:
                raise VerificationError(
                    f"the artifact's displacement differs from the {source}'s by {value:.3g} "
                    f"voxel ({name}, worst at {found.where}), the limit is {limit:g}; nothing was "
                    f"written: use a higher precision, or --{name}-error if this is good enough"
                )


USUAL = {"fp16": Limits(0.1, 0.02), "mixed": Limits(0.1, 0.02), "int8": Limits(4.0, 1.5)}
"""Of precisions other than float32."""
