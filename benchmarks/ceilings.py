"""What the machine itself reaches, and how much work the network is: a registration's floor."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["floor_seconds", "gemm_rates", "network_work", "rewritten_flops", "triad_rate"]

SIZE = 3072
"""Of the square matrices."""

TRIAD = 1 << 26
"""Values of each of the three arrays, more than any cache holds."""

WIDTHS = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of a value."""


def seconds_of(run: Callable[[], Any]) -> float:
    """One run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def gemm_rates() -> dict[str, float]:
    """Operations a second of a large matrix product by PyTorch (oneDNN or MKL), by type."""
    import torch

    rates = {}
    for name in ("float32", "bfloat16"):
        matrix = torch.rand(SIZE, SIZE).to(getattr(torch, name))
        rates[name] = 2 * SIZE**3 / seconds_of(partial(torch.mm, matrix, matrix))
    whole = torch.randint(-9, 9, (SIZE, SIZE), dtype=torch.int8)
    rates["int8"] = 2 * SIZE**3 / seconds_of(lambda: torch._int_mm(whole, whole))
    return rates


def triad_rate() -> float:
    """Bytes a second of ``a = b + s * c``: two arrays read, one written."""
    import torch

    one, other, sum_of_both = torch.rand(TRIAD), torch.rand(TRIAD), torch.zeros(TRIAD)
    seconds = seconds_of(lambda: torch.add(one, other, alpha=3.0, out=sum_of_both))
    return 3 * 4 * TRIAD / seconds


def network_work(checkpoint: Path, shape: tuple[int, int, int]) -> dict[str, float]:
    """Operations of the network's convolutions, and the values that they read and write."""
    import gpu_floor
    import torch

    from vmexport.checkpoints import read_checkpoint

    network = read_checkpoint(checkpoint).network
    scan = torch.zeros(1, 1, *shape)
    work = gpu_floor.network_work(network, (scan, scan.clone()))
    return {"flops": work.flops, "values": work.values}


def rewritten_flops(model: Path, shape: tuple[int, int, int]) -> float:
    """Operations of the U-Net's convolutions as the openvino engine computes them."""
    from vmruntime import Artifact
    from vmruntime.backends.openvino_model import build_unet
    from vmruntime.unet.graph import read_graph
    from vmruntime.unet.tail import find_tail

    graph = read_graph(Artifact.read(model).model)
    unet = build_unet(graph, find_tail(graph).prediction, shape)
    return float(sum(_flops_of(node) for node in unet.get_ordered_ops()))


def _flops_of(node: Any) -> float:
    """Multiplications and additions of an OpenVINO convolution, 0 for anything else."""
    kind = node.get_type_name()
    if "Convolution" not in kind:
        return 0.0
    weights = list(node.input(1).get_partial_shape().to_shape())
    # Transposed ones use every weight for each value that goes in, others for each that comes out.
    if kind.endswith("BackpropData"):
        positions = _size(list(node.input(0).get_partial_shape().to_shape())[2:])
    else:
        positions = _size(list(node.output(0).get_partial_shape().to_shape())[2:])
    return 2.0 * positions * _size(weights)


def _size(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= int(size)
    return product


def floor_seconds(work: dict[str, float], rates: dict[str, float], precision: str) -> float:
    """The longer of computing and moving, each at the machine's full rate.

    Parameters
    ----------
    work
        ``flops`` and ``values``.
    rates
        Operations a second by precision, and bytes a second as ``triad``.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"int8"``.
    """
    moving = work["values"] * WIDTHS[precision] / rates["triad"]
    return max(work["flops"] / rates[precision], moving)
