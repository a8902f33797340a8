"""Writing ``report.json``, ``report.html`` and the plans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmcalibration.measuring import Measured
from vmcalibration.options import CalibrationOptions
from vmcalibration.report.facts import build_facts
from vmcalibration.report.html import page
from vmcalibration.report.plots import draw_plots
from vmruntime.artifact import Artifact

__all__ = ["write_reports"]


def write_reports(
    measured: Measured,
    artifact: Artifact,
    path: Path,
    options: CalibrationOptions,
    files: Mapping[str, Path],
) -> dict[str, Any]:
    """Write both reports.

    Parameters
    ----------
    measured
        What was found.
    artifact
        The float32 model.
    path
        The recommended file, for its name.
    options
        What was asked for.
    files
        Where ``report.json`` and ``report.html`` go.

    Returns
    -------
    dict
        What ``report.json`` holds.
    """
    facts = build_facts(measured, artifact, path, options)
    files["report.json"].write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
    plots = draw_plots(facts, measured.maps)
    # A file name may hold bytes that are no text, which UTF-8 cannot carry.
    files["report.html"].write_bytes(page(facts, plots).encode("utf-8", "replace"))
    return facts
