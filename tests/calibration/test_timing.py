"""Seconds and memory, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vmcalibration.candidates import float32_candidate
from vmcalibration.errors import CalibrationError
from vmcalibration.timing import time_candidate
from vmexport.verification import phantom_pair
from vmruntime import Artifact

SHAPE = (16, 32, 48)


def test_memory_is_that_of_the_other_process(checked_artifact: Path, tmp_path: Path) -> None:
    large = np.ones(1 << 28, np.float32)  # a gigabyte, here
    candidate = float32_candidate(Artifact.read(checked_artifact), "onnxruntime")
    found = time_candidate(candidate, phantom_pair(SHAPE), tmp_path, 1, 2)
    assert large.all()
    assert found is not None
    assert found.engine.startswith("onnxruntime")
    assert found.engine.endswith("fp32")
    assert 20 < found.peak_mb < 900
    assert 0 < found.seconds <= found.median_seconds <= found.slowest_seconds


def test_what_does_not_run_here_is_not_timed(checked_artifact: Path, tmp_path: Path) -> None:
    candidate = replace(float32_candidate(Artifact.read(checked_artifact), "auto"), timed=None)
    assert time_candidate(candidate, phantom_pair(SHAPE), tmp_path, 1, 1) is None


def test_a_process_that_fails_is_one_line(checked_artifact: Path, tmp_path: Path) -> None:
    artifact = replace(Artifact.read(checked_artifact), path=tmp_path / "absent.onnx")
    candidate = float32_candidate(artifact, "onnxruntime")
    with pytest.raises(CalibrationError, match="timing FP32 failed") as raised:
        time_candidate(candidate, phantom_pair(SHAPE), tmp_path, 1, 1)
    assert "absent.onnx" in str(raised.value)
    assert "\n" not in str(raised.value)
