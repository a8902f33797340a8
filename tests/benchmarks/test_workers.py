"""Rounds that go through several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthetic_scans import MODEL_SHAPE


def test_rounds_go_through_workers_and_what_cannot_run_is_a_row(
    module: Any, tiny_artifact: Path, tmp_path: Path
) -> None:
    workers = module("workers")
    pytest.importorskip("openvino", reason="the cpu extra is not installed")
    size = "x".join(map(str, MODEL_SHAPE))
    with (
        workers.Worker("grid", tiny_artifact, size, 1, threads=1) as one,
        workers.Worker("grid", tmp_path / "none.onnx", size, 1, threads=1) as none,
        workers.Worker("grid", tiny_artifact, "8x8", 1, threads=1) as wrong,
    ):
        found = workers.rounds_of({"one": one, "none": none, "wrong": wrong}, 3)
    assert set(found["one"]) == {"wall", "cpu", "peak_gb"}
    assert 0 < found["one"]["wall"]["min"] <= found["one"]["wall"]["median"]
    assert found["one"]["wall"]["median"] <= found["one"]["wall"]["max"]
    assert 0.01 < found["one"]["peak_gb"] < 2
    assert list(found["none"]) == ["unavailable"]
    assert "none.onnx" in found["none"]["unavailable"]
    assert "\n" not in found["none"]["unavailable"]
    assert list(found["wrong"]) == ["unavailable"]


def test_a_worker_that_is_killed_is_a_row(module: Any, tiny_artifact: Path) -> None:
    workers = module("workers")
    pytest.importorskip("openvino", reason="the cpu extra is not installed")
    with workers.Worker(
        "grid", tiny_artifact, "x".join(map(str, MODEL_SHAPE)), 1, threads=1
    ) as one:
        one._process.kill()
        one._process.wait()
        found = workers.rounds_of({"one": one}, 2)
    assert found["one"]["unavailable"].startswith("failed: ended with -9")


def test_spread(module: Any) -> None:
    found = module("workers").spread(iter([3.0, 1.0, 2.0]))
    assert found == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_the_machine_has_rates(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings = module("ceilings")
    monkeypatch.setattr(ceilings, "SIZE", 64)
    monkeypatch.setattr(ceilings, "TRIAD", 1 << 12)
    assert set(ceilings.gemm_rates()) == {"float32", "bfloat16", "int8"}
    assert all(rate > 0 for rate in ceilings.gemm_rates().values())
    assert ceilings.triad_rate() > 0


def test_the_floor_is_the_longer_of_computing_and_moving(module: Any) -> None:
    floor = module("ceilings").floor_seconds
    rates = {"float32": 1e11, "bfloat16": 4e11, "triad": 1e10}
    assert floor({"flops": 2e11, "values": 1e9}, rates, "float32") == pytest.approx(2.0)
    assert floor({"flops": 2e11, "values": 9e9}, rates, "float32") == pytest.approx(3.6)
    assert floor({"flops": 2e11, "values": 1e9}, rates, "bfloat16") == pytest.approx(0.5)


def test_the_work_of_convolutions(module: Any) -> None:
    pytest.importorskip("openvino", reason="the cpu extra is not installed")
    import numpy as np
    from openvino import opset13 as ops

    flops = module("ceilings")._flops_of
    given = ops.parameter([1, 2, 8, 6, 4], np.float32)
    weights = ops.constant(np.zeros((5, 2, 3, 3, 3), np.float32))
    one, two = [1] * 3, [2] * 3
    plain = ops.convolution(given, weights, two, one, one, one)
    assert flops(plain) == 2 * (4 * 3 * 2) * 5 * 2 * 27
    turned = ops.constant(np.zeros((2, 5, 4, 4, 4), np.float32))
    doubled = ops.convolution_backprop_data(given, turned, two, None, one, one)
    assert flops(doubled) == 2 * (8 * 6 * 4) * 2 * 5 * 64
    assert flops(ops.relu(given)) == 0
