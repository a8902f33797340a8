"""The GPU benchmark itself, on the CPU: every part that needs no GPU."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from checkpoint_files import SMALL, config, save_torch, state
from device_backend import BackendOnDevice
from device_sessions import field, manifest
from emulated_device import EmulatedDevice, why_not_emulated
from fake_backend import FakeBackend
from synthetic_scans import MODEL_SHAPE, model_volume, parcellation
from vmruntime import Registrar, Volume
from vmruntime.cuda.probe import probe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmark, which is a program and no package."""
    pytest.importorskip("torch", reason="the export extra is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def arguments(tmp_path: Path, tiny_artifact: Path, pair: dict[str, Path]) -> list[str]:
    weights = state(SMALL)
    checkpoint = save_torch(tmp_path / "model.pt", weights, config(inshape=MODEL_SHAPE))
    given = {
        "fp32": tiny_artifact, "fp16": tiny_artifact, "moving": pair["moving"],
        "fixed": pair["fixed"], "labels": pair["moving_seg"], "output": tmp_path / "results",
    }  # fmt: skip
    return [str(checkpoint), *(f"--{name}={value}" for name, value in given.items())]


@pytest.mark.skipif(bool(probe().devices), reason="a GPU is there")
def test_without_a_gpu_it_says_so_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: this benchmark needs a GPU: no NVIDIA driver")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_dry_run_does_all_that_a_cpu_can(part: Any, arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(
        part("gpu").main, [*arguments, "--dry-run", "--repeats=2", "--warm-up=0", "--affine=header"]
    )
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "results" / "gpu.json").read_text())
    rows = {row["name"]: row for row in facts["rows"]}
    assert facts["gpu"] == "none: a dry run, no result"
    assert {row["group"] for row in rows.values()} == {"network", "warp", "pipeline"}
    assert len(rows) >= 10
    slow = {name: row["note"] for name, row in rows.items() if row["ms"] is None}
    # A CPU may lack some operator in FP16.
    assert all("FP16" in name for name in slow), slow
    assert facts["work"]["flops"] > 0
    page = (tmp_path / "results" / "gpu.md").read_text()
    assert "| torch eager FP32 | " in page
    assert (tmp_path / "results" / "gpu.png").read_bytes().startswith(b"\x89PNG")


def test_the_floor(part: Any) -> None:
    floor = part("gpu_floor")
    rates = floor.Rates(1e15, 5e13, bytes=4e12, up_bytes=5e10, down_bytes=5e10)
    # The full-resolution network: 1025 GFLOP, 1.5 billion values.
    work = floor.Work(1.025e12, 1.5e9)
    assert floor.floor_ms(work, rates, "fp16") == pytest.approx(1.025)
    assert floor.floor_ms(work, rates, "fp32") == pytest.approx(20.5)
    assert floor.floor_ms(floor.Work(1e9, 1.5e9), rates, "fp16") == pytest.approx(0.75)
    assert floor.warp_bytes((10, 10, 10)) == 1000 * (4 + 4 + 12)


def test_the_work_of_a_network(part: Any) -> None:
    import torch

    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.ReLU())

    # FlopCounterMode hands one pair of tensors on as the network's arguments.
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, one: Any, other: Any) -> Any:
            return self.network(one + other)

    scan = torch.zeros(1, 1, 4, 5, 6)
    work = part("gpu_floor").network_work(Pair(), (scan, scan))
    assert work.flops == 2 * 120 * 27 * 2
    assert work.values == 120 + 240 + 54


def test_what_fails_is_a_row(part: Any) -> None:
    timing, report = part("gpu_timing"), part("gpu_report")

    def broken() -> Any:
        raise RuntimeError("no\nsuch | GPU")

    row = timing.measure(timing.Case("network", "x", broken, 2.0), repeats=3, warm_up=1)
    assert row.ms is None
    assert row.note == "failed: RuntimeError: no such | GPU"
    page = report.markdown({"a": {"b": 1.23456}}, [row])
    assert "| x |  |  |  |  | 2 |  | failed: RuntimeError: no such \\| GPU |" in page
    assert "| a | b 1.235 |" in page


def test_a_case_is_closed_when_it_was_measured(part: Any) -> None:
    timing, engines = part("gpu_timing"), part("gpu_engines")
    closed: list[int] = []
    ran: list[int] = []
    run = engines.Closing(lambda: ran.append(1), lambda: closed.append(1))
    row = timing.measure(timing.Case("warp", "x", lambda: run), repeats=4, warm_up=2)
    assert len(ran) == 7
    assert closed == [1]
    assert row.ms is not None
    assert row.first_ms is not None


@pytest.mark.skipif(why_not_emulated() is not None, reason=str(why_not_emulated()))
def test_kernels_and_pipeline_on_the_emulated_device(part: Any) -> None:
    timing, engines, floor = part("gpu_timing"), part("gpu_engines"), part("gpu_floor")
    rates = floor.Rates(1.0, 1.0, 1.0, 1.0, 1.0)
    moving, fixed = model_volume(0), model_volume(1)
    labels = Volume(parcellation(MODEL_SHAPE), moving.grid)
    cases = engines.kernel_cases(EmulatedDevice, (7, 9, 35), rates)
    cases += engines.pipeline_cases(
        lambda: Registrar(manifest(), BackendOnDevice(FakeBackend(field), EmulatedDevice()), 1),
        (moving, fixed), labels, "header", rates,
    )  # fmt: skip
    for case in cases:
        row = timing.measure(case, repeats=1, warm_up=0)
        assert row.note == ""
        assert row.floor_ms is not None
    # uint8 would go up as such; these are float32, and labels of two bytes.
    voxels = int(np.prod(MODEL_SHAPE))
    assert cases[-1].floor_ms == pytest.approx(1e3 * voxels * (4 + 4 + 2 + 4 + 2))
