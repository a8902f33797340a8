"""Everything about one registration as plain values, for qc.json."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from typing import Any

import nibabel as nib
import numpy as np

from vmruntime.kernels import kernels_in_use
from vmruntime.quality import Overlap, Quality
from vmruntime.registrar import Registrar
from vmruntime.registration import Registration
from vmruntime.version import __version__

__all__ = ["build_report"]

REPORT_VERSION = "1.0"


def build_report(
    registrar: Registrar, registration: Registration, quality: Quality, wall: float | None = None
) -> dict[str, Any]:
    """Figures, timings, engine, versions and manifest of a registration.

    Parameters
    ----------
    registrar, registration, quality
        What registered, what it gave, how good that is.
    wall
        Seconds that the whole took; None for the sum of its stages.

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
        "foreground_dice": {
            "before": quality.foreground_before,
            "after": quality.foreground_after,
        },
        "foreground_outside": dict(quality.outside),
        "inverse_consistency": None if quality.consistency is None else asdict(quality.consistency),
        "volumes_mm3": {str(label): volume for label, volume in quality.volumes_mm3.items()},
        "affine": _affine(registration),
        "warnings": [{"code": code, "text": text} for code, text in registration.warnings],
        "wall": round(sum(registration.timings.values()) if wall is None else wall, 4),
        "seconds": {name: round(value, 4) for name, value in registration.timings.items()},
        "engine": {
            "backend": registrar.backend.name,
            "version": registrar.backend.version,
            "device": registrar.backend.device,
            "precision": registrar.backend.precision,
            "threads": registrar.threads,
            "kernels": kernels_in_use(),
        },
        "inputs": {"moving": registration.pair.moving.name, "fixed": registration.pair.fixed.name},
        "versions": {
            "voxelmorph-deploy": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "nibabel": nib.__version__,
        },
        "manifest": registrar.manifest.to_dict(),
    }


def _affine(registration: Registration) -> dict[str, Any]:
    """The affine, fixed world to moving world in RAS+ mm, and what was measured about it."""
    found = registration.pair.alignment
    return {
        "source": registration.pair.affine_source,
        "matrix": registration.transform.affine.tolist(),
        "correlation": found.correlation if found else None,
        "foreground_overlap": found.foreground_overlap if found else None,
        "fixed_outside": found.fixed_outside if found else None,
        "scale": list(found.scale) if found else None,
        "rotation_degrees": found.rotation_degrees if found else None,
        "translation_mm": list(found.translation_mm) if found else None,
    }


def _overlap(found: Overlap) -> dict[str, Any]:
    labels = {str(label): value for label, value in found.labels.items()}
    return {"mean": None if math.isnan(found.mean) else found.mean, "labels": labels}
