"""Rules that bring a scan's intensities to the range a model was trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import ManifestError
from vmruntime.memory_pool import empty
from vmruntime.sparse import sparse

__all__ = ["IntensityRule"]

RULES = "divide:NUMBER, minmax, percentile:LOW,HIGH or none"

# A foreground maximum outside this range does not come from a scan scaled to 0..1.
PLAUSIBLE_MAXIMUM = (0.1, 2.0)

BRIGHT = 99.9
"""Percentile of the foreground that is taken for its maximum."""

# Beyond these a scan of any kind overflows or vanishes in float32.
SMALLEST_DIVISOR, LARGEST_DIVISOR = 1e-6, 1e12


@dataclass(frozen=True)
class IntensityRule:
    """How intensities are scaled before the network.

    - ``divide:N``: divided by N (FreeSurfer's normalised scans: 255);
    - ``minmax``: minimum to 0, maximum to 1;
    - ``percentile:LOW,HIGH``: these percentiles of the non-zero voxels to 0 and 1, values below 0
      clipped, the zero background stays 0;
    - ``none``: taken as they are.

    Parameters
    ----------
    kind
        ``"divide"``, ``"minmax"``, ``"percentile"`` or ``"none"``.
    numbers
        The rule's numbers, in the order in which they are written.
    """

    kind: str
    numbers: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> IntensityRule:
        """Read a rule as it is written on the command line and in manifests.

        Raises
        ------
        ManifestError
            The text is no rule.
        """
        kind, _, rest = text.strip().partition(":")
        number = r"\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?"
        if rest and not re.fullmatch(rf"{number}(,{number})*", rest):
            raise ManifestError(f"{text!r} is no intensity rule; write {RULES}")
        numbers = tuple(float(part) for part in rest.split(",")) if rest else ()
        valid = {
            "none": len(numbers) == 0,
            "minmax": len(numbers) == 0,
            "divide": len(numbers) == 1 and SMALLEST_DIVISOR <= numbers[0] <= LARGEST_DIVISOR,
            "percentile": len(numbers) == 2 and 0 <= numbers[0] < numbers[-1] <= 100,
        }
        if not valid.get(kind, False):
            raise ManifestError(f"{text!r} is no intensity rule; write {RULES}")
        return cls(kind, numbers)

    def __str__(self) -> str:
        numbers = ",".join(_shortest(number) for number in self.numbers)
        return f"{self.kind}:{numbers}" if numbers else self.kind

    @property
    def is_proportional(self) -> bool:
        """Whether the rule only multiplies by a constant, so that it commutes with warping."""
        return self.kind in ("divide", "none")

    def apply(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale a scan.

        Parameters
        ----------
        data
            ``(D, H, W)`` float32, finite and not constant.

        Returns
        -------
        ndarray
            The same shape, float32.
        """
        if self.kind == "divide":
            divided: NDArray[np.float32] = empty(data.shape, np.float32)
            np.divide(data, np.float32(self.numbers[0]), out=divided)
            return divided
        if self.kind == "minmax":
            low, high = data.min(), data.max()
            scaled: NDArray[np.float32] = (data - low) / (high - low)
            return scaled
        if self.kind == "percentile":
            foreground = data[data != 0]
            low, high = np.percentile(foreground, self.numbers).astype(np.float32)
            if high <= low:  # nearly constant foreground: percentiles coincide
                low, high = np.float32(0), np.abs(foreground).max()
            with np.errstate(over="ignore"):  # outliers of a foreground that is nearly constant
                scaled = np.maximum((data - low) / (high - low), 0, dtype=np.float32)
            return np.where(data != 0, scaled, np.float32(0))
        return data

    @staticmethod
    def brightest(scaled: NDArray[np.float32]) -> float | None:
        """The foreground's maximum but for outliers, None where there is no foreground."""
        some = np.ascontiguousarray(scaled[sparse(scaled.shape)])
        foreground = some[some != 0]
        if foreground.size == 0:  # or so little that none was met
            foreground = scaled[scaled != 0]
        if foreground.size == 0:
            return None
        # As np.percentile has it, which takes several times as long.
        foreground.sort()
        below, part = divmod(BRIGHT / 100 * (foreground.size - 1), 1)
        near, far = foreground[int(below)], foreground[min(int(below) + 1, foreground.size - 1)]
        with np.errstate(invalid="ignore"):  # infinite values
            return float(near + (far - near) * part)

    @classmethod
    def suspicion(cls, scaled: NDArray[np.float32], name: str) -> str | None:
        """What looks wrong about a scan after the rule, for a model trained on 0..1; else None."""
        return cls.suspicion_of(cls.brightest(scaled), name)

    @staticmethod
    def suspicion_of(brightest: float | None, name: str) -> str | None:
        """The same for a scan of which the foreground's maximum is known."""
        if brightest is None:
            return (
                f"{name}: every voxel is 0 after the intensity rule; "
                f"choose another rule with --intensity ({RULES})"
            )
        low, high = PLAUSIBLE_MAXIMUM
        if low <= brightest <= high:
            return None
        return (
            f"{name}: the foreground maximum is {brightest:.3g} after the intensity rule, the "
            f"model expects about 1; choose another rule with --intensity ({RULES})"
        )


def _shortest(number: float) -> str:
    """As few digits as give this very number back."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)
