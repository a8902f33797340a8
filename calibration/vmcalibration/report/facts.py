"""Everything that was found, as plain values."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vmcalibration.candidates import Candidate
from vmcalibration.decision import SPARE
from vmcalibration.machine import describe_machine
from vmcalibration.measuring import Measured
from vmcalibration.options import CalibrationOptions
from vmcalibration.ranges import range_of_weights
from vmruntime.artifact import Artifact

__all__ = ["build_facts"]

VERSION = "1.0"


def build_facts(
    measured: Measured, artifact: Artifact, path: Path, options: CalibrationOptions
) -> dict[str, Any]:
    """The content of ``report.json``; numbers that are none or not finite are null."""
    decision = measured.decision
    facts = {
        "version": VERSION,
        "recommendation": {
            "sentence": decision.sentence,
            "precision": decision.recommended,
            "model": path.name,
            "declined": list(decision.declined),
        },
        "budget": {
            "mm": options.budget_mm,
            "mm_used_at_most": SPARE * options.budget_mm,
            "statistic": "99th percentile of the displacement error, worst pair",
            "dice": options.budget_dice,
            "dice_judged": any(v.dice_loss is not None for v in decision.verdicts),
        },
        "model": {
            "file": artifact.path.name,
            "manifest": artifact.manifest.to_dict(),
            "layers": [layer.name for layer in measured.layers],
        },
        "pairs": {
            "used": [pair.name for pair in measured.used],
            "skipped": measured.skipped,
        },
        "options": asdict(options),
        "machine": describe_machine(measured.threads),
        "candidates": [_candidate(measured, candidate) for candidate in measured.candidates],
        "evaluations": measured.evaluations,
        "risks": [asdict(risk) for risk in measured.risks],
        "sensitivity": {
            "on": measured.plans.on,
            **{
                lower: [asdict(found) for found in rows]
                for lower, rows in measured.plans.sensitivity.items()
            },
        },
        "plans": {
            lower: {
                "layers": dict(planned.plan.layers),
                "kept": list(planned.plan.kept),
                "error_of_trial": None if planned.error is None else asdict(planned.error),
                "sets_tried": planned.tried,
            }
            for lower, planned in measured.plans.planned.items()
        },
        "thresholds": measured.plans.thresholds,
        "tensors": {name: held.report() for name, held in measured.ranges.tensors.items()},
        "weights": {
            layer.weights: range_of_weights(measured.model, layer).report()
            for layer in measured.layers
        },
    }
    plain: dict[str, Any] = _plain(facts)
    return plain


def _candidate(measured: Measured, candidate: Candidate) -> dict[str, Any]:
    verdict = next(v for v in measured.decision.verdicts if v.candidate == candidate.name)
    timing = measured.timings.get(candidate.name)
    return {
        "name": candidate.name,
        "title": candidate.title,
        "note": candidate.note,
        "bytes": None if candidate.name == "bf16" else candidate.bytes,
        "kept": list(candidate.plan.kept) if candidate.plan else [],
        "timing": None if timing is None else asdict(timing),
        "verdict": asdict(verdict),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
