"""From the start of a process to the files on disk: ``vm-infer`` against a PyTorch script."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pair
from context import Context
from gates import ratio_gate
from workers import environment, spread

from vmruntime.io.images import read_labels, read_scan

__all__ = ["measure"]

OURS, PEER, TUNED = "vm-infer", "voxelmorph 0.2 and nibabel", "the same, tuned"
FIRST = "vm-infer, first run ever"
LIMIT = 0.3
"""Share of the peer's time that the project allows itself."""


def measure(context: Context) -> dict[str, Any]:
    """Rounds through the three, after one run of ours with an empty cache."""
    model = context.model()
    settings = environment(context.threads) | {"VM_CACHE": str(context.folder / "cold cache")}
    ours: list[object] = [
        Path(sys.executable).with_name("vm-infer"), model, "--force", "-v",
        "--threads", str(context.threads),
        "--moving", pair.FILES["moving"], "--fixed", pair.FILES["fixed"],
        "--moving-seg", pair.FILES["moving_seg"],
        "--moved", context.folder / "ours.nii.gz",
        "--moved-seg", context.folder / "ours_labels.nii.gz",
    ]  # fmt: skip
    inputs = [pair.FILES[name] for name in ("moving", "fixed", "moving_seg")]
    outputs = [context.folder / name for name in ("peer.nii.gz", "peer_labels.nii.gz")]
    script = Path(__file__).with_name("peer_register.py")
    peer: list[object] = [sys.executable, script, pair.CHECKPOINT, *inputs, *outputs]
    cases = {OURS: ours, PEER: peer, TUNED: [*peer, "--tuned"]}
    context.say(f"cold: {FIRST}")
    runs = {FIRST: [commands.run(ours, settings)], **{name: [] for name in cases}}
    for _ in range(context.rounds):
        for name, command in cases.items():
            context.say(f"cold: {name}")
            runs[name].append(commands.run(command, settings))
    rows = [row_of(name, ran) for name, ran in runs.items()]
    seconds = {row["command"]: row["wall"]["median"] for row in rows}
    gate = ratio_gate(f"{OURS} / {PEER}", seconds[OURS], seconds[PEER], most=LIMIT)
    return {
        "rounds": context.rounds,
        "threads": context.threads,
        "rows": rows,
        "same": compare(context.folder),
        "gates": [gate.to_dict()],
    }


def row_of(name: str, ran: list[commands.Ran]) -> dict[str, Any]:
    """Spread of the figures, and the median of each stage."""
    return {
        "command": name,
        "wall": spread(run.wall for run in ran),
        "cpu": spread(run.cpu for run in ran),
        "peak_gb": max(run.peak_gb for run in ran),
        "stages": {
            stage: statistics.median(run.stages[stage] for run in ran) for stage in ran[0].stages
        },
    }


def compare(folder: Path) -> dict[str, Any]:
    """Whether both did the same work: what each result is worth, and how far apart they are."""
    moved = {who: read_scan(folder / f"{who}.nii.gz").data for who in ("ours", "peer")}
    carried = {who: read_labels(folder / f"{who}_labels.nii.gz").data for who in moved}
    # The script writes what it has in the model's intensities.
    scaled = moved["ours"].astype(np.float32) / 255
    return {
        **{who: pair.judge_carried(moved[who], carried[who]) for who in moved},
        "labels_equal_percent": 100 * float((carried["ours"] == carried["peer"]).mean()),
        "moved_max_difference": float(np.abs(scaled - moved["peer"]).max()),
    }
