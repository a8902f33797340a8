"""Sensitivities and plans of each number format that is stored in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import onnx

from vmcalibration.candidates import ends
from vmcalibration.decision import SPARE
from vmcalibration.options import CalibrationOptions
from vmcalibration.planning import Planned, find_plan
from vmcalibration.ranges import Ranges
from vmcalibration.risks import Risk, layers_that_overflow
from vmcalibration.sensitivity import Sensitivity, plan_for, sensitivities
from vmcalibration.sharing import shared_thresholds
from vmcalibration.state import State
from vmcalibration.trial import Trial
from vmexport.precision import Layer, PrecisionPlan
from vmruntime.quality import Agreement

__all__ = ["Plans", "make_plans"]

TRIAL_SPARE = 0.85
"""Of what a pair that was seen may use up: the trial sees one pair."""

ROUNDS = 4
"""How often a plan that the whole pair does not confirm is searched again, more strictly."""

MAX_OF_P99 = 10.0
"""How much larger than for 99 % of the voxels an error may be anywhere, in a plan's limits."""


@dataclass(frozen=True, eq=False)
class Plans:
    """What was found about each number format.

    Parameters
    ----------
    sensitivity
        Of each layer alone, by number format.
    planned
        The plan, by number format.
    thresholds
        INT8's, of every layer that may be quantized.
    forced
        Layers that overflow in float16.
    on
        Pair and shape of the piece that was tried.
    """

    sensitivity: dict[str, tuple[Sensitivity, ...]] = field(default_factory=dict)
    planned: dict[str, Planned] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    forced: tuple[str, ...] = ()
    on: dict[str, Any] = field(default_factory=dict)

    def smallest_error(self, lower: str) -> str:
        """The least that lowering a layer costs, for people."""
        finite = [found for found in self.sensitivity[lower] if math.isfinite(found.p99_mm)]
        if not finite:
            return "no layer has such a form or holds it"
        least = min(finite, key=lambda found: found.p99_mm)
        return (
            f"the least sensitive layer, {least.layer}, alone costs {least.p99_mm:.3g} mm at 99 % "
            "of the voxels of a piece of a pair; the whole pair decides"
        )

    def plan_of_all(self, layers: Sequence[Layer], lower: str, kept: set[str]) -> PrecisionPlan:
        """The plan that lowers everything but `kept`, whatever it does."""
        return plan_for(layers, lower, kept, self.thresholds)


def make_plans(
    model: onnx.ModelProto,
    layers: tuple[Layer, ...],
    ranges: Ranges,
    risks: Sequence[Risk],
    options: CalibrationOptions,
    state: State,
    trial: Callable[[bool], Trial],
    announce: Callable[[str], None],
) -> Plans:
    """Measure each layer and search for plans.

    Parameters
    ----------
    trial
        Makes what layers are tried on, a piece of a pair or the whole.
    """
    thresholds = shared_thresholds(model, layers, ranges, options.method)
    found = Plans(thresholds=thresholds, forced=layers_that_overflow(risks))
    piece = whole = None
    for lower in ("fp16", "int8"):
        if not options.tries(lower):
            continue
        stored = state.get(f"plan_{lower}")
        if stored is None:
            forced = set(found.forced) if lower == "fp16" else ends(layers, model)
            if piece is None or whole is None:
                announce("float32, on a piece and on the whole of the first pair")
                piece, whole = trial(False), trial(True)
            sensitive = sensitivities(
                piece, layers, lower, thresholds,
                lambda name, kind=lower: announce(f"{kind.upper()} in {name} alone"),  # type: ignore[misc]
            )  # fmt: skip
            planned = _confirmed(
                piece, whole, layers, lower, sensitive, forced, thresholds, options, announce
            )
            planned = replace(planned, plan=_with_limits(planned.plan, options, piece.voxel_size))
            stored = _stored(sensitive, planned, piece)
            state.put(f"plan_{lower}", stored)
        _restore(found, lower, stored)
    return found


def _confirmed(
    piece: Trial,
    whole: Trial,
    layers: tuple[Layer, ...],
    lower: str,
    sensitive: Sequence[Sensitivity],
    forced: set[str],
    thresholds: dict[str, float],
    options: CalibrationOptions,
    announce: Callable[[str], None],
) -> Planned:
    """A plan found on the piece that holds on the whole; its error is the whole's."""
    target = allowed = TRIAL_SPARE * SPARE * options.budget_mm
    for _ in range(ROUNDS):
        planned = find_plan(
            piece, layers, lower, sensitive, forced, thresholds, target,
            lambda text: announce(f"{lower.upper()} plan: {text}"),
        )  # fmt: skip
        if planned.error is None:
            return planned
        announce(f"{lower.upper()} plan with {len(planned.plan.kept)} layers kept, on the whole")
        error = whole.error(planned.plan)
        planned = replace(planned, error=error)
        if error.p99_mm <= allowed:
            return planned
        # What a piece gives is a share of what the whole does, about the same one for every plan.
        share = allowed / error.p99_mm if math.isfinite(error.p99_mm) else 0.5
        target *= 0.95 * share
    kept = {layer.name for layer in layers}
    return Planned(plan_for(layers, lower, kept, thresholds), None, planned.tried)


def _with_limits(
    plan: PrecisionPlan, options: CalibrationOptions, voxel_size: tuple[float, float, float]
) -> PrecisionPlan:
    voxels = options.budget_mm / max(voxel_size)
    return replace(plan, p99_voxels=voxels, max_voxels=MAX_OF_P99 * voxels)


def _stored(sensitive: Sequence[Sensitivity], planned: Planned, trial: Trial) -> dict[str, Any]:
    """As plain values; JSON has no infinity."""
    rows = [{key: _finite(value) for key, value in asdict(found).items()} for found in sensitive]
    return {
        "sensitivity": rows,
        "plan": planned.plan.to_json(),
        "error": None if planned.error is None else asdict(planned.error),
        "tried": planned.tried,
        "on": {"pair": trial.name, "shape": list(trial.shape)},
    }


def _restore(plans: Plans, lower: str, stored: dict[str, Any]) -> None:
    plans.sensitivity[lower] = tuple(
        Sensitivity(
            str(row["layer"]),
            *(
                math.inf if row[key] is None else float(row[key])
                for key in ("mean", "p99", "max", "p99_mm")
            ),
        )
        for row in stored["sensitivity"]
    )
    error = stored["error"]
    if error is not None:
        error = Agreement(**{**error, "where": tuple(error["where"])})
    plan = PrecisionPlan.from_json(stored["plan"])
    plans.planned[lower] = Planned(plan, error, stored["tried"])
    plans.on.update(stored["on"])


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
