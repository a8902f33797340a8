"""What is said about plans that nothing has verified, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vmruntime import Artifact
from vmruntime.plan_records import is_verified, record_verified, unverified_notice


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_said_once(tiny_plan: Path) -> None:
    plan = Artifact.read(tiny_plan)
    notice = unverified_notice(plan)
    assert notice is not None
    assert notice.startswith(f"{tiny_plan} was built without a GPU")
    assert f"vm-inspect {tiny_plan} --verify" in notice
    assert unverified_notice(Artifact.read(tiny_plan)) is None
    assert not is_verified(plan)  # but it still is not


def test_said_for_each_file(tiny_plan: Path) -> None:
    plan = Artifact.read(tiny_plan)
    assert unverified_notice(plan)
    assert unverified_notice(replace(plan, model=plan.model + b"\0"))


def test_not_after_it_was_verified_here(tiny_plan: Path) -> None:
    plan = Artifact.read(tiny_plan)
    assert record_verified(plan, {"engine": "tensorrt-rtx"})
    assert is_verified(plan)
    assert unverified_notice(plan) is None
    assert not is_verified(replace(plan, model=plan.model + b"\0"))


def test_not_where_the_build_verified_it(tiny_plan: Path) -> None:
    plan = Artifact.read(tiny_plan)
    manifest = replace(plan.manifest, engine={**plan.manifest.engine, "verified": True})
    built_on_gpu = replace(plan, manifest=manifest)
    assert is_verified(built_on_gpu)
    assert unverified_notice(built_on_gpu) is None


def test_an_onnx_model_is_verified_by_its_export(tiny_artifact: Path) -> None:
    onnx = Artifact.read(tiny_artifact)
    assert is_verified(onnx)
    assert unverified_notice(onnx) is None


def test_a_damaged_record_counts_for_nothing(tiny_plan: Path, cache: Path) -> None:
    plan = Artifact.read(tiny_plan)
    assert record_verified(plan, {})
    (record,) = [path for path in cache.rglob("*") if path.is_file()]
    content = record.read_bytes()
    for damaged in (b"", content[:20], content[:-1], content + b" "):
        record.write_bytes(damaged)
        assert not is_verified(plan)


def test_a_cache_that_cannot_be_written(tiny_plan: Path, cache: Path) -> None:
    cache.write_text("a file, where the folder should be")
    plan = Artifact.read(tiny_plan)
    assert not record_verified(plan, {})
    assert unverified_notice(plan)
    assert unverified_notice(plan)
