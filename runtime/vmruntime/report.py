"""Everything about one registration as plain values, for qc.json."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from typing import Any

import nibabel as nib
import numpy as np

from vmruntime.quality import Overlap, Quality
from vmruntime.registrar import Registrar
from vmruntime.registration import Registration
from vmruntime.version import __version__

__all__ = ["build_report"]

REPORT_VERSION = "1.0"


def build_report(
    registrar: Registrar, registration: Registration, quality: Quality
) -> dict[str, Any]:
    """Figures, timings, engine, versions and manifest of a registration.

    Returns
    -------
    dict
        JSON values only; a figure that does not exist (Dice without labels) is None.
    """
    return {
        "version": REPORT_VERSION,
        "similarity": {
            "before": asdict(quality.similarity_before),
            "after": asdict(quality.similarity_after),
        },
        "dice": None
        if quality.overlap_before is None or quality.overlap_after is None
        else {
            "before": _overlap(quality.overlap_before),
            "after": _overlap(quality.overlap_after),
        },
        "regularity": asdict(quality.regularity),
        "warnings": list(registration.warnings),
        "seconds": {name: round(value, 4) for name, value in registration.timings.items()},
        "engine": {
            "backend": registrar.backend.name,
            "version": registrar.backend.version,
            "device": registrar.backend.device,
            "precision": registrar.manifest.precision,
            "threads": registrar.threads,
        },
        "inputs": {"moving": registration.moving.name, "fixed": registration.fixed.name},
        "versions": {
            "voxelmorph-deploy": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "nibabel": nib.__version__,
        },
        "manifest": registrar.manifest.to_dict(),
    }


def _overlap(found: Overlap) -> dict[str, Any]:
    labels = {str(label): value for label, value in found.labels.items()}
    return {"mean": None if math.isnan(found.mean) else found.mean, "labels": labels}
