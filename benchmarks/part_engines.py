"""The pair by every engine on the CPU, warm, side by side, and what the machine itself allows."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pair
from ceilings import floor_seconds, network_work, rewritten_flops
from context import Context
from engines import EMULATED, ENGINES, LABELS
from gates import Gate, ratio_gate
from int8_model import NoInt8Error
from numpy.typing import NDArray
from workers import Worker, rounds_of

from vmruntime.quality import agreement

__all__ = ["gates", "measure"]

REFERENCE = "torch eager"
FP32, BF16, INT8 = "openvino fp32", "openvino bf16", "openvino int8"
PEERS = ("torch channels_last_3d", "voxelmorph 0.2")


def measure(context: Context) -> dict[str, Any]:
    """Rounds through all engines and the machine's ceilings."""
    model = context.model()
    files, without = dict.fromkeys(ENGINES, model), {}
    try:
        files[INT8] = context.int8_model()
    except NoInt8Error as error:
        del files[INT8]
        without[INT8] = f"no INT8 model: {error}"
    with ExitStack() as stack:
        workers = {}
        for name, file in files.items():
            context.say(f"engines: {name}")
            field = context.folder / f"{name}.npy"
            worker = Worker("engine", name, file, field, context.threads, threads=context.threads)
            workers[name] = stack.enter_context(worker)
        ceilings = Worker("ceilings", context.threads, threads=context.threads)
        workers["ceilings"] = stack.enter_context(ceilings)
        context.say(f"engines: {context.rounds} rounds")
        found = rounds_of(workers, context.rounds)
    rates = {name: rate["max"] for name, rate in found.pop("ceilings").items() if name != "peak_gb"}
    plain = network_work(pair.CHECKPOINT, pair.SHAPE)
    works = {False: plain, True: {**plain, "flops": rewritten_flops(model, pair.SHAPE)}}
    carrying = found.pop(LABELS)
    rows: list[dict[str, Any]] = []
    for name, engine in ENGINES.items():
        if name == LABELS:
            continue
        row: dict[str, Any] = {"engine": name, "note": engine.note}
        row |= found[name] if name in found else {"unavailable": without[name]}
        if "unavailable" not in row:
            context.say(f"engines: judging {name}")
            row |= judged(context.folder, name)
            computed = "float32" if row["note"] and row["note"] == EMULATED else engine.precision
            row["floor"] = floor_seconds(works[engine.rewritten], rates, computed)
            row["share_of_floor"] = row["floor"] / row["wall"]["median"]
        rows.append(row)
    return {
        "rounds": context.rounds,
        "threads": context.threads,
        "rates": rates,
        "work": {"original": plain, "rewritten": works[True]},
        "rows": rows,
        "carrying_labels": carrying,
        "gates": [gate.to_dict() for gate in gates(rows, carrying)],
    }


def judged(folder: Path, name: str) -> dict[str, Any]:
    """What the displacement is worth, and how far it is from PyTorch's in float32."""
    field: NDArray[np.float32] = np.load(folder / f"{name}.npy")
    found = pair.judge(field)
    reference = folder / f"{REFERENCE}.npy"
    if reference.is_file():
        away = agreement(np.load(reference), field, (1.0, 1.0, 1.0))
        found["difference"] = {"mean": away.mean, "p99": away.p99, "max": away.max}
    return found


def gates(rows: list[dict[str, Any]], carrying: dict[str, Any]) -> list[Gate]:
    """What the project asks of these figures."""
    at = {row["engine"]: row for row in rows}

    def seconds(name: str) -> float | None:
        row = at.get(name, {})
        return row["wall"]["median"] if "wall" in row else None

    def figure(name: str, key: str) -> float | None:
        return at.get(name, {}).get(key)

    found = [
        ratio_gate(f"{peer} / {engine}", seconds(peer), seconds(engine), least=least, why=why)
        for engine, why, leasts in ((FP32, "", (1.7, 3.0)), (BF16, EMULATED, (3.0, 5.5)))
        for peer, least in zip(PEERS, leasts, strict=True)
    ]
    missing = f"no row of {BF16}"
    for engine, most in ((FP32, 1.1), (BF16, 0.85)):
        peak = figure(engine, "peak_gb")
        found.append(Gate(f"{engine}: peak memory, GB", peak, most=most, why=missing))
    dice = figure(FP32, "dice"), figure(BF16, "dice")
    change = None if dice[0] is None or dice[1] is None else abs(dice[0] - dice[1])
    found.append(Gate("bf16 against fp32: Dice", change, most=0.0005, why=missing))
    away = at.get(BF16, {}).get("difference", {}).get("mean")
    what = "bf16 against float32: displacement, mean voxels"
    found.append(Gate(what, away, most=0.03, why=missing))
    unet = carrying.get("unet", {}).get("median")
    rest = None if unet is None else carrying["wall"]["median"] - unet
    what = "openvino fp32: all but the U-Net, labels too / U-Net"
    found.append(ratio_gate(what, rest, unet, most=0.1))
    return found
