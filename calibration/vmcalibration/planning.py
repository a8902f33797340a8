"""The smallest set of layers to keep in float32 so that a budget is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from vmcalibration.sensitivity import Sensitivity, plan_for
from vmcalibration.trial import Trial
from vmexport.errors import ExportError
from vmexport.precision import Layer, PrecisionPlan
from vmruntime.quality import Agreement

__all__ = ["Planned", "find_plan"]


@dataclass(frozen=True)
class Planned:
    """A plan, and what it gave on the trial's pair.

    Parameters
    ----------
    plan
        The plan.
    error
        Its displacement error; None where no layer is lowered.
    tried
        How many sets of layers were run to find it.
    """

    plan: PrecisionPlan
    error: Agreement | None
    tried: int


def find_plan(
    trial: Trial,
    layers: Sequence[Layer],
    lower: str,
    sensitive: Sequence[Sensitivity],
    forced: Collection[str],
    thresholds: Mapping[str, float],
    target_mm: float,
    announce: Callable[[str], None] = lambda _: None,
) -> Planned:
    """Search greedily: keep the most sensitive layers, as many as it takes, and let go again.

    The smallest of all sets would take 2^layers runs. Here layers are kept in the order of their
    sensitivity until the rest together meets the target, and then each kept one is lowered again
    if the target is met without it.

    Parameters
    ----------
    trial
        The pair.
    layers
        All layers of the U-Net.
    lower
        ``"fp16"`` or ``"int8"``.
    sensitive
        Of each layer alone.
    forced
        Layers that are kept whatever it costs.
    thresholds
        For INT8, each layer's.
    target_mm
        What 99 % of the voxels may be off by.
    announce
        Called with what is tried.
    """
    search = _Search(trial, layers, lower, thresholds, target_mm, announce)
    fixed = set(forced) | {found.layer for found in sensitive if math.isinf(found.p99_mm)}
    order = sorted(
        (found for found in sensitive if found.layer not in fixed), key=lambda found: -found.p99_mm
    )
    names = [found.layer for found in order]
    count = _estimate(order, target_mm)
    while count < len(names) and not search.meets(fixed | set(names[:count])):
        count += 1
    while 0 < count < len(names) and search.meets(fixed | set(names[: count - 1])):
        count -= 1
    kept = set(names[:count])
    if count < len(names):
        for name in reversed(names[:count]):
            if search.meets(fixed | (kept - {name})):
                kept.discard(name)
    return search.planned(fixed | kept)


def _estimate(order: Sequence[Sensitivity], target_mm: float) -> int:
    """How many to keep if the errors of the layers were independent of each other."""
    rest = [found.p99_mm for found in order]
    count = 0
    while count < len(rest) and math.sqrt(sum(v * v for v in rest[count:])) > target_mm:
        count += 1
    return count


class _Search:
    """Runs sets of kept layers, each once."""

    def __init__(
        self,
        trial: Trial,
        layers: Sequence[Layer],
        lower: str,
        thresholds: Mapping[str, float],
        target_mm: float,
        announce: Callable[[str], None],
    ) -> None:
        self._trial, self._layers, self._lower = trial, layers, lower
        self._thresholds, self._target, self._announce = thresholds, target_mm, announce
        self._errors: dict[frozenset[str], Agreement | None] = {}

    def meets(self, kept: set[str]) -> bool:
        """Whether all layers but these can be lowered."""
        if len(kept) == len(self._layers):
            return True
        error = self._error(kept)
        # "not <=" would let NaN through.
        return error is not None and error.p99_mm <= self._target

    def planned(self, kept: set[str]) -> Planned:
        """The plan that keeps these."""
        plan = plan_for(self._layers, self._lower, kept, self._thresholds)
        error = None if len(kept) == len(self._layers) else self._error(kept)
        return Planned(plan, error, len(self._errors))

    def _error(self, kept: set[str]) -> Agreement | None:
        key = frozenset(kept)
        if key not in self._errors:
            self._announce(f"{len(kept)} of {len(self._layers)} layers in float32")
            plan = plan_for(self._layers, self._lower, kept, self._thresholds)
            try:
                self._errors[key] = self._trial.error(plan)
            except ExportError:
                self._errors[key] = None
        return self._errors[key]
