"""The least time that a machine can take: arithmetic and bytes over rates measured on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Rates", "Work", "floor_ms", "measure_rates", "network_work", "warp_bytes"]


@dataclass(frozen=True)
class Rates:
    """What a device does in a second.

    Parameters
    ----------
    fp16_flops, fp32_flops
        Floating-point operations of a large matrix product.
    bytes
        Read and written by a large copy.
    up_bytes, down_bytes
        From page-locked memory of the host, and back to it.
    """

    fp16_flops: float
    fp32_flops: float
    bytes: float
    up_bytes: float
    down_bytes: float


@dataclass(frozen=True)
class Work:
    """What a network has to do for one pair.

    Parameters
    ----------
    flops
        Operations of its convolutions, a multiplication and an addition being two.
    values
        Values that its convolutions read and write, weights included.
    """

    flops: float
    values: float


def floor_ms(work: Work, rates: Rates, precision: str) -> float:
    """The longer of computing and moving, each at the full rate: nothing overlaps better."""
    flops = rates.fp16_flops if precision == "fp16" else rates.fp32_flops
    width = 2 if precision == "fp16" else 4
    return 1e3 * max(work.flops / flops, work.values * width / rates.bytes)


def warp_bytes(shape: tuple[int, ...], channels: int = 1, width: int = 4) -> int:
    """Bytes of a warp that reads volume and displacement once and writes the result."""
    voxels = 1
    for size in shape:
        voxels *= size
    return voxels * (2 * channels * width + 3 * 4)


def network_work(network: Any, pair: tuple[Any, Any]) -> Work:
    """Count a torch network's convolutions on a pair of tensors."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    values = 0.0

    def count(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal values
        values += inputs[0].numel() + output.numel() + module.weight.numel()

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d)
    ]
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(*pair)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(float(counter.get_total_flops()), values)


def measure_rates(device: str, *, size: int = 8192, megabytes: int = 1024) -> Rates:
    """Measure with torch: matrix products and copies, the best of five.

    Parameters
    ----------
    device
        ``"cuda"``, or ``"cpu"`` to try the benchmark itself.
    size
        Of the square matrices.
    megabytes
        Of a copy.
    """
    import torch

    def best(run: Any) -> float:
        seconds = []
        for _ in range(6):
            start = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])

    def product(kind: Any) -> float:
        one, other = (torch.randn(size, size, dtype=kind, device=device) for _ in range(2))
        return 2.0 * size**3 / best(lambda: one @ other)

    there = torch.empty(megabytes << 20, dtype=torch.uint8, device=device)
    copy = torch.empty_like(there)
    here = torch.empty(megabytes << 20, dtype=torch.uint8, pin_memory=device == "cuda")
    return Rates(
        fp16_flops=product(torch.float16),
        fp32_flops=product(torch.float32),
        bytes=2 * there.numel() / best(lambda: copy.copy_(there)),
        up_bytes=there.numel() / best(lambda: there.copy_(here, non_blocking=True)),
        down_bytes=there.numel() / best(lambda: here.copy_(there, non_blocking=True)),
    )
