"""How much each layer alone in a lower precision changes the displacement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vmcalibration.trial import Trial
from vmexport.errors import ExportError
from vmexport.precision import Layer, PrecisionPlan, can_quantize

__all__ = ["Sensitivity", "plan_for", "sensitivities"]


@dataclass(frozen=True)
class Sensitivity:
    """One layer's error when it alone is lowered.

    Parameters
    ----------
    layer
        Its name.
    mean, p99, max
        Displacement error against float32, in voxels; infinite where a value overflows or the
        layer has no such form.
    p99_mm
        In millimetres.
    """

    layer: str
    mean: float
    p99: float
    max: float
    p99_mm: float


def sensitivities(
    trial: Trial,
    layers: Sequence[Layer],
    lower: str,
    thresholds: Mapping[str, float],
    announce: Callable[[str], None] = lambda _: None,
) -> tuple[Sensitivity, ...]:
    """Lower each layer alone, and measure.

    Parameters
    ----------
    trial
        The pair.
    layers
        All layers of the U-Net.
    lower
        ``"fp16"`` or ``"int8"``.
    thresholds
        For INT8, each layer's.
    announce
        Called with each layer's name.
    """
    found = []
    for layer in layers:
        announce(layer.name)
        found.append(_one(trial, layers, layer, lower, thresholds))
    return tuple(found)


def plan_for(
    layers: Sequence[Layer], lower: str, kept: set[str], thresholds: Mapping[str, float]
) -> PrecisionPlan:
    """The plan that lowers all layers but the kept ones."""
    formats = {layer.name: "fp32" if layer.name in kept else lower for layer in layers}
    cut = {
        name: float(thresholds[name])
        for name, kind in formats.items()
        if kind == "int8" and name in thresholds
    }
    return PrecisionPlan(lower, formats, cut)


def _one(
    trial: Trial,
    layers: Sequence[Layer],
    layer: Layer,
    lower: str,
    thresholds: Mapping[str, float],
) -> Sensitivity:
    others = {other.name for other in layers} - {layer.name}
    if lower == "int8" and not (can_quantize(layer) and layer.name in thresholds):
        return Sensitivity(layer.name, *(math.inf,) * 4)
    try:
        error = trial.error(plan_for(layers, lower, others, thresholds))
    except ExportError:  # weights that float16 does not hold
        return Sensitivity(layer.name, *(math.inf,) * 4)
    figures = (error.mean, error.p99, error.max, error.p99_mm)
    if not all(math.isfinite(value) for value in figures):
        figures = (math.inf,) * 4
    return Sensitivity(layer.name, *figures)
