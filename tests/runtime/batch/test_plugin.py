"""GPUs and cores of a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the batch extra is not installed")

from vmruntime.batch.errors import BatchError
from vmruntime.batch.plugin import see_only, workers_by_host


@pytest.mark.parametrize(
    ("seen", "gpu", "left"),
    [(None, 0, "0"), (None, 3, "3"), ("", 1, "1"), ("4,6", 0, "4"), ("4,6", 1, "6"),
     ("GPU-a1,GPU-b2", 1, "GPU-b2")],
)  # fmt: skip
def test_a_worker_sees_one_gpu(
    monkeypatch: pytest.MonkeyPatch, seen: str | None, gpu: int, left: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    see_only(gpu)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    with pytest.raises(BatchError, match="no GPU 2: CUDA_VISIBLE_DEVICES leaves 4,6"):
        see_only(2)


def test_workers_of_a_host_share_its_cores() -> None:
    workers = dict.fromkeys(["tcp://a:1", "tcp://a:2", "tls://b:1", "tcp://[::1]:7"], 2)
    assert workers_by_host(workers) == {"a": 2, "b": 1, "[::1]": 1}


@pytest.mark.parametrize(
    ("options", "gpus", "count"),
    [
        ({}, (), 1),
        ({"device": "cuda"}, (0, 1), 2),
        ({"workers": 5}, (0, 1), 5),
        ({"gpus": (1,)}, (1,), 1),
        ({"device": "cpu"}, (), 1),
        ({"scheduler": "tcp://x:1"}, (), 1),
    ],
)
def test_how_many_workers(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    gpus: tuple[int, ...],
    count: int,
) -> None:
    import vmruntime.cli.batching as batching

    visible = (0, 1) if "device" in options or "workers" in options else ()
    monkeypatch.setattr(batching, "_gpus", lambda: visible)
    monkeypatch.setattr(batching, "_cores", lambda: 6)
    names = batching.Request.__dataclass_fields__
    given = dict.fromkeys(names) | {"device": "auto", "model": Path("m")} | options
    found = batching._workers(batching.Request(**given), None)  # type: ignore[arg-type]
    assert (found.gpus, found.count) == (gpus, count)
