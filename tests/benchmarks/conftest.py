"""What tests of the benchmark share."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmark, which is a set of programs and no package."""
    pytest.importorskip("torch", reason="the export extra is not installed")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module
