"""The network and the warp in PyTorch, each way that a user may try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_floor import Rates, Work, floor_ms, warp_bytes
from gpu_timing import TOGETHER, Case, smooth_field

__all__ = ["torch_networks", "torch_warps"]


def torch_networks(
    network: Any, shape: tuple[int, ...], device: str, work: Work, rates: Rates
) -> list[Case]:
    """Eager in FP32, FP16 with channels last, and compiled.

    Parameters
    ----------
    network
        A `RegistrationNetwork`; copies of it are used.
    shape
        ``(D, H, W)``.
    device
        ``"cuda"`` or ``"cpu"``.
    work, rates
        What is to do, and what the machine can.
    """
    import copy

    import torch

    # Trying the benchmark on a CPU is no reason to wait for a compiler.
    compiler = "inductor" if device == "cuda" else "eager"

    def runs(half: bool, compiled: bool) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            kind = torch.float16 if half else torch.float32
            order = torch.channels_last_3d if half else torch.contiguous_format
            own = copy.deepcopy(network).eval().to(device, dtype=kind, memory_format=order)
            model = torch.compile(own, backend=compiler) if compiled else own
            pair = [torch.rand(1, 1, *shape, device=device, dtype=kind) for _ in range(2)]

            def run() -> object:
                with torch.inference_mode():
                    found = model(*pair)
                if device == "cuda":
                    torch.cuda.synchronize()
                return found

            return run

        return prepare

    def case(name: str, half: bool, compiled: bool) -> Case:
        precision = "fp16" if half else "fp32"
        return Case("network", name, runs(half, compiled), floor_ms(work, rates, precision))

    return [
        case("torch eager FP32", False, False),
        case("torch FP16 channels_last_3d", True, False),
        case("torch.compile FP32", False, True),
        case("torch.compile FP16 channels_last_3d", True, True),
    ]


def torch_warps(shape: tuple[int, ...], device: str, rates: Rates) -> list[Case]:
    """``grid_sample`` alone, its grid made beforehand, and as the original package calls it."""
    import torch
    from torch.nn import functional

    def prepare(with_grid: bool) -> Callable[[], object]:
        volume = torch.rand(1, 1, *shape, device=device)
        field = torch.from_numpy(smooth_field(shape))[None].to(device)
        axes = [torch.arange(n, device=device, dtype=torch.float32) for n in shape]
        identity = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        sizes = torch.tensor(shape, device=device).view(1, 3, 1, 1, 1)

        def grid_of() -> torch.Tensor:
            places = 2 * (identity + field) / (sizes - 1) - 1
            return places.permute(0, 2, 3, 4, 1).flip(-1)

        ready = grid_of().contiguous()

        def run() -> object:
            for _ in range(TOGETHER):
                found = functional.grid_sample(
                    volume, grid_of() if with_grid else ready, align_corners=True
                )
            if device == "cuda":
                torch.cuda.synchronize()
            return found

        return run

    floor = 1e3 * warp_bytes(shape) / rates.bytes
    return [
        Case("warp", "torch grid_sample", lambda: prepare(False), floor, TOGETHER),
        Case("warp", "torch grid_sample with its grid", lambda: prepare(True), floor, TOGETHER),
    ]
