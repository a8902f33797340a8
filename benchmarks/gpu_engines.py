"""The artifact in our backends, our kernels, and a registration with all of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_floor import Rates, Work, floor_ms, warp_bytes
from gpu_timing import TOGETHER, Case, smooth_field

from vmruntime import Registrar, Volume
from vmruntime.backends import DeviceBackend, open_backend
from vmruntime.cuda.device import Device
from vmruntime.cuda.kernels import BLOCK, voxel_blocks
from vmruntime.preparation import Preparation, decide, sample
from vmruntime.stages import Stages

__all__ = ["Closing", "engine_case", "kernel_cases", "pipeline_cases", "rtx_case"]


class Closing:
    """Something to run, and what to close when it was measured."""

    def __init__(self, run: Callable[[], object], close: Callable[[], None]) -> None:
        self._run = run
        self.close = close

    def __call__(self) -> object:
        """Run it once."""
        return self._run()


def engine_case(
    path: Path,
    name: str,
    shape: tuple[int, int, int],
    work: Work,
    rates: Rates,
    *,
    precision: str,
    device: str = "cuda",
    backend: Callable[[Any], Any] | None = None,
) -> Case:
    """The network alone, its inputs and outputs where the engine has them.

    Parameters
    ----------
    path
        ``model.onnx`` or a plan.
    name
        What the tables call it.
    shape
        ``(D, H, W)``.
    work, rates
        For the floor.
    precision
        What the U-Net is computed in.
    device
        Where to.
    backend
        Opens an `Artifact` in another way than `open_backend`.
    """

    def prepare() -> Callable[[], object]:
        from vmruntime.artifact import Artifact

        artifact = Artifact.read(path)
        engine = backend(artifact) if backend else open_backend(artifact, "auto", device)
        pair = {role: np.random.default_rng(0).random((1, 1, *shape), np.float32)
                for role in ("moving", "fixed")}  # fmt: skip
        if not isinstance(engine, DeviceBackend):
            return Closing(lambda: engine.run(pair, ["displacement"]), engine.close)
        gpu = engine.gpu
        feeds = {}
        for role, scan in pair.items():
            memory = gpu.allocate(scan.nbytes)
            gpu.upload(scan, memory)
            feeds[role] = memory.address
        field = gpu.allocate(3 * 4 * int(np.prod(shape)))

        def run() -> None:
            engine.run_on_device(feeds, {"displacement": field.address}, shape, gpu.stream)
            gpu.synchronize()

        return Closing(run, engine.close)

    return Case("network", name, prepare, floor_ms(work, rates, precision))


def rtx_case(model: Path, work: Work, rates: Rates, shape: tuple[int, int, int]) -> Case:
    """Whether TensorRT-RTX takes this GPU: built for it and loaded; the answer is the row's."""
    plan = Path(tempfile.mkdtemp(prefix="rtx")) / "model.plan"
    case = engine_case(plan, "TensorRT-RTX FP16, this GPU", shape, work, rates, precision="fp16")

    def prepare() -> Callable[[], object]:
        command = ["vm-export", model, "--engine", plan, "--target", "rtx",
                   "--compute-capability", "current"]  # fmt: skip
        here = Path(sys.executable).parent
        command[0] = here / "vm-export"
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1:] or done.returncode)
        return case.prepare()

    return Case(case.group, case.name, prepare, case.floor_ms)


def kernel_cases(
    open_device: Callable[[], Device], shape: tuple[int, int, int], rates: Rates
) -> list[Case]:
    """Our warp, in both precisions and for labels."""

    def kernel(name: str, dtype: Any, *, label: bool) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            device = open_device()
            volume = (np.random.default_rng(0).random(shape, np.float32) * 40).astype(dtype)
            field = smooth_field(shape)
            places = [device.allocate(n) for n in (volume.nbytes, field.nbytes, volume.nbytes)]
            device.upload(volume, places[0])
            device.upload(field, places[1])
            sizes = [np.int32(n) for n in (*shape, *shape)]
            rest: list[Any] = (
                [np.uint64(0), *sizes] if label else [np.int32(1), *sizes, np.int32(0)]
            )
            grid = voxel_blocks(shape)

            def run() -> None:
                for _ in range(TOGETHER):
                    device.launch(name, grid, BLOCK, [*places, *rest])
                device.synchronize()

            return Closing(run, device.close)

        return prepare

    def case(title: str, name: str, dtype: Any, *, label: bool = False) -> Case:
        width = np.dtype(dtype).itemsize
        floor = 1e3 * warp_bytes(shape, width=width) / rates.bytes
        return Case("warp", title, kernel(name, dtype, label=label), floor, TOGETHER)

    return [
        case("ours, FP32", "vm_warp_linear_f32", np.float32),
        case("ours, FP16 volume", "vm_warp_linear_f16", np.float16),
        case("ours, nearest, 16-bit labels", "vm_warp_nearest_16", np.int16),
        case("ours, label vote, 16-bit labels", "vm_warp_label_i16", np.int16, label=True),
    ]


def pipeline_cases(
    open_registrar: Callable[[], Registrar],
    scans: tuple[Volume, Volume],
    labels: Volume,
    affine: str,
    rates: Rates,
) -> list[Case]:
    """Two native scans in, moved image and labels out; with and without what the host decides.

    The floor counts what goes up and comes down only.
    """
    moving, fixed = scans
    up = sum((v.data if v.stored is None else v.stored).nbytes for v in (*scans, labels))
    down = fixed.data.nbytes + fixed.data.size * labels.data.itemsize
    floor = 1e3 * (up / rates.up_bytes + down / rates.down_bytes)

    def device_side() -> Callable[[], object]:
        registrar = open_registrar()
        how = Preparation(affine=affine)
        decision = decide(registrar.manifest, moving, fixed, how, Stages(), registrar.threads)
        from vmruntime import Transform

        def run() -> object:
            place = registrar.workplace
            with place.registration():
                pair = sample(decision, moving, fixed, place)
                (field,) = place.network(
                    registrar.backend, pair.moving, pair.fixed, ["displacement"]
                )
                transform = Transform(fixed.grid, moving.grid, decision.affine, field)
                images: Any = [(moving, "linear"), (labels, "nearest")]
                return place.carry(transform, images, fixed.grid)

        return Closing(run, registrar.close)

    def whole() -> Callable[[], object]:
        registrar = open_registrar()
        return Closing(
            lambda: registrar.register(moving, fixed, affine=affine, labels=[labels]),
            registrar.close,
        )

    return [
        Case("pipeline", "device side: scans in, image and labels out", device_side, floor),
        Case("pipeline", f"register(), affine {affine}, host's part included", whole, floor),
    ]
