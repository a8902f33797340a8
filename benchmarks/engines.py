"""What registers the pair on the CPU: VoxelMorph in PyTorch, and our Registrar with its engines."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pair
from int8_model import BUDGET_MM
from machine import has_native_bf16
from numpy.typing import NDArray

from vmruntime import Grid, Registrar, Volume

__all__ = ["EMULATED", "ENGINES", "LABELS", "SCALE", "Engine", "Loaded", "original_network"]

SCALE = 255
"""What the official model wants scans divided by."""


@dataclass
class Loaded:
    """An engine that is ready.

    Parameters
    ----------
    register
        Registers the pair, arrays in, moved scan and displacement out; gives the displacement,
        ``(3, D, H, W)`` float32 voxels.
    unet_seconds
        One entry for each run: what the U-Net alone took, where that is known.
    facts
        What ran, for the report.
    """

    register: Callable[[], NDArray[np.float32]]
    unet_seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """One row of the table.

    Parameters
    ----------
    name
        In tables and on the worker's command line.
    load
        ``load(model, threads)`` with the exported file (or the INT8 one).
    precision
        ``"float32"``, ``"bfloat16"`` or ``"int8"``: the rate that its floor is reckoned with.
    rewritten
        Whether it computes the rewritten U-Net, which has fewer operations.
    note
        What else there is to say.
    """

    name: str
    load: Callable[[Path, int], Loaded]
    precision: str = "float32"
    rewritten: bool = False
    note: str = ""


def pair_as_arrays() -> list[NDArray[np.float32]]:
    """Moving and fixed scan, float32, 0 to 255."""
    return [scan.data.astype(np.float32) for scan in pair.scans()]


def original_network() -> Any:
    """The class VxmDense of voxelmorph 0.2."""
    os.environ["VXM_BACKEND"] = os.environ["NEURITE_BACKEND"] = "pytorch"
    # voxelmorph 0.2 uses a function that Python 3.11 no longer has.
    inspect.getargspec = lambda f: inspect.getfullargspec(f)[:4]  # type: ignore[attr-defined]
    from voxelmorph.torch.networks import VxmDense

    return VxmDense


def voxelmorph(_: Path, threads: int) -> Loaded:
    """The model of voxelmorph 0.2, called as its scripts/torch/register.py does."""
    import torch

    torch.set_num_threads(threads)
    model = original_network().load(str(pair.CHECKPOINT), "cpu")
    model.to("cpu")
    model.eval()
    arrays = pair_as_arrays()

    def register() -> NDArray[np.float32]:
        moving, fixed = (torch.from_numpy(data / SCALE).float()[None, None] for data in arrays)
        moved, displacement = model(moving, fixed, registration=True)
        assert moved.detach().numpy().shape[2:] == pair.SHAPE
        found: NDArray[np.float32] = displacement.detach().numpy()[0]
        return found

    return Loaded(register)


def eager(*, channels_last: bool = False, bf16: bool = False) -> Callable[[Path, int], Loaded]:
    """The exporter's network in PyTorch's inference mode; with `bf16` the U-Net in bfloat16."""

    def load(_: Path, threads: int) -> Loaded:
        import torch

        from vmexport.checkpoints import read_checkpoint
        from vmexport.networks import warp

        torch.set_num_threads(threads)
        network = read_checkpoint(pair.CHECKPOINT).network
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        network.to(memory_format=layout)  # type: ignore[call-overload]
        if bf16:
            network.unet.bfloat16()
            network.flow.bfloat16()
        arrays = pair_as_arrays()

        @torch.inference_mode()
        def register() -> NDArray[np.float32]:
            moving, fixed = (
                torch.from_numpy(data / SCALE)[None, None].contiguous(memory_format=layout)
                for data in arrays
            )
            displacement = network.tail(network.velocity(moving, fixed).float())
            moved = warp(moving, displacement)
            assert moved.numpy().shape[2:] == pair.SHAPE
            found: NDArray[np.float32] = displacement[0].numpy()
            return found

        return Loaded(register)

    return load


def ours(engine: str, precision: str, *, labels: bool = False) -> Callable[[Path, int], Loaded]:
    """The Registrar with one of its engines; with `labels`, carrying those of the moving scan."""

    def load(model: Path, threads: int) -> Loaded:
        registrar = Registrar.load(model, backend=engine, precision=precision, threads=threads)
        grid = Grid(pair.SHAPE, pair.AFFINE)
        moving, fixed = (Volume(data, grid) for data in pair_as_arrays())
        carried = [Volume(pair.labels_of("moving").data, grid)] if labels else []
        backend = registrar.backend
        facts = {"precision": backend.precision, "version": backend.version}

        def register() -> NDArray[np.float32]:
            result = registrar.register(moving, fixed, labels=carried)
            assert result.moved.data.shape == pair.SHAPE
            return result.displacement.data

        return Loaded(register, watch_unet(backend), facts)

    return load


def watch_unet(backend: Any) -> list[float]:
    """Seconds of a backend's U-Net, in a list that grows with each run."""
    seconds: list[float] = []
    if backend.name != "openvino":
        return seconds
    predict = backend._predict

    def timed(feeds: Any) -> Any:
        start = time.perf_counter()
        found = predict(feeds)
        seconds.append(time.perf_counter() - start)
        return found

    backend._predict = timed
    return seconds


EMULATED = "" if has_native_bf16() else "emulated: this processor has no bfloat16 instructions"
"""What is computed in float32 then, and rounded; nothing where the processor has them."""

LABELS = "openvino fp32, labels"
"""Carries the labels too: to see what the U-Net is of the whole."""

ENGINES = {
    engine.name: engine
    for engine in (
        Engine("voxelmorph 0.2", voxelmorph, note="as its register.py calls it"),
        Engine("torch eager", eager()),
        Engine("torch channels_last_3d", eager(channels_last=True)),
        Engine("torch bf16", eager(channels_last=True, bf16=True), "bfloat16", note=EMULATED),
        Engine("onnxruntime", ours("onnxruntime", "fp32")),
        Engine("openvino fp32", ours("openvino", "fp32"), "float32", True),
        Engine("openvino bf16", ours("openvino", "bf16"), "bfloat16", True, EMULATED),
        Engine("openvino int8", ours("openvino", "auto"), "int8", note=f"within {BUDGET_MM} mm"),
        Engine(LABELS, ours("openvino", "fp32", labels=True), "float32", True),
    )
}  # fmt: skip
