"""Everything that runs a registration on a GPU, side by side, in one run.

    .venv/bin/python benchmarks/gpu.py CHECKPOINT --fp32 model.onnx --fp16 model-fp16.onnx \
        --moving MOVING --fixed FIXED --labels LABELS [--plan model.plan] [--output FOLDER]

Torch eager, FP16 and compiled; ONNX Runtime on CUDA; plans; TensorRT-RTX, tried once; our kernels
against ``grid_sample``; a whole registration. Each is the median of 50 runs after warming up, with
the device memory that it takes and the floor by FLOPs and bytes at rates measured in the same run.
Writes ``gpu.json``, ``gpu.md`` and ``gpu.png``. Something that fails is a row that says why.

``--dry-run`` tries the benchmark itself on the CPU, on small sizes; what that prints is no result.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from gpu_engines import engine_case, kernel_cases, pipeline_cases, rtx_case
from gpu_floor import Rates, Work, measure_rates, network_work
from gpu_report import draw, markdown
from gpu_timing import Case, Row, measure
from gpu_torch import torch_networks, torch_warps
from machine import describe_machine

from vmruntime import Registrar
from vmruntime.backends import open_backend
from vmruntime.cuda.cuda_device import CudaDevice
from vmruntime.cuda.probe import probe
from vmruntime.io.images import read_labels, read_scan

VARIANTS: dict[str, dict[str, Any]] = {
    "CUDA graph": {"cuda_graph": True},
    "every algorithm tried": {"options": {"cudnn_conv_algo_search": "EXHAUSTIVE"}},
    "default algorithm": {"options": {"cudnn_conv_algo_search": "DEFAULT"}},
    "channels last": {"options": {"prefer_nhwc": "1"}},
    "channels last, CUDA graph": {"options": {"prefer_nhwc": "1"}, "cuda_graph": True},
}
"""Ways to set ONNX Runtime up, by what the tables call them."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def device_mib() -> float:
    """Memory in use on the GPU, by whomever, in MiB."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


@click.command()
@click.argument("checkpoint", type=FILE)
@click.option("--fp32", type=FILE, required=True, help="The model as vm-export wrote it.")
@click.option("--fp16", type=FILE, required=True, help="The same with --precision fp16.")
@click.option("--moving", type=FILE, required=True)
@click.option("--fixed", type=FILE, required=True)
@click.option("--labels", type=FILE, required=True, help="Segmentation of the moving scan.")
@click.option("--plan", "plans", type=FILE, multiple=True, help="Engines to run, any number.")
@click.option("--affine", default="auto", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=50, show_default=True)
@click.option("--warm-up", type=click.IntRange(0), default=10, show_default=True)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default="gpu-results")
@click.option("--only", metavar="REGEX", default="", help="Only rows whose name has this in it.")
@click.option("--dry-run", is_flag=True, help="Try the benchmark itself, on the CPU.")
def main(
    checkpoint: Path, fp32: Path, fp16: Path, moving: Path, fixed: Path, labels: Path,
    plans: tuple[Path, ...], affine: str, repeats: int, warm_up: int, output: Path, only: str,
    dry_run: bool,
) -> None:  # fmt: skip
    """Measure, print and write the tables."""
    found = probe()
    if not (found.devices or dry_run):
        click.echo(f"Error: this benchmark needs a GPU: {found.reason}", err=True)
        sys.exit(1)
    device = "cpu" if dry_run else "cuda"
    cases, facts = collect(
        checkpoint, {"fp32": fp32, "fp16": fp16}, plans, (moving, fixed, labels), affine, device
    )
    facts |= {"gpu": found.devices[0].name if found.devices else "none: a dry run, no result"}
    facts |= {"driver": found.driver, "repeats": repeats}
    output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for case in [case for case in cases if re.search(only, f"{case.group}: {case.name}")]:
        row = measure(case, repeats=repeats, warm_up=warm_up, used=device_mib)
        rows.append(row)
        shown = row.note or f"{row.ms:.3g} ms"
        click.echo(f"{row.group}: {row.name}: {shown}", err=True)
        # After each: machines are lent for minutes.
        result = {**facts, "rows": [asdict(row) for row in rows]}
        (output / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    page = markdown(facts, rows)
    (output / "gpu.md").write_text(page)
    draw(rows, output / "gpu.png")
    click.echo(page)


def collect(
    checkpoint: Path,
    models: dict[str, Path],
    plans: tuple[Path, ...],
    files: tuple[Path, Path, Path],
    affine: str,
    device: str,
) -> tuple[list[Case], dict[str, object]]:
    """All cases, and the facts that they rest on."""
    import onnxruntime
    import torch

    from vmexport.checkpoints import read_checkpoint

    network = read_checkpoint(checkpoint).network
    scans = read_scan(files[0]), read_scan(files[1])
    labels = read_labels(files[2])
    on_cpu = device == "cpu"
    with Registrar.load(models["fp32"], device="cpu", threads=1) as opened:
        shape = opened.manifest.shape or (160, 192, 224)
    work = network_work(network, (torch.rand(1, 1, *shape), torch.rand(1, 1, *shape)))
    rates = measure_rates(device, size=64, megabytes=1) if on_cpu else measure_rates(device)
    cases = torch_networks(network, shape, device, work, rates)
    if not on_cpu:
        cases.append(
            engine_case(
                models["fp16"], "ours FP16", shape, work, rates, precision="fp16",
                backend=lambda artifact: open_backend(artifact, "cuda"),
            )
        )  # fmt: skip
    for precision, path in models.items():
        name = f"onnxruntime {device} {precision.upper()}"
        cases.append(
            engine_case(
                path,
                name,
                shape,
                work,
                rates,
                precision=precision,
                backend=lambda artifact: open_backend(artifact, "onnxruntime", device),
            )
        )
    if not on_cpu:
        cases += [
            variant_case(models["fp16"], name, shape, work, rates, **how)
            for name, how in VARIANTS.items()
        ]
        cases += [
            engine_case(plan, f"plan {plan.name}", shape, work, rates, precision="fp16")
            for plan in plans
        ]
        cases.append(rtx_case(models["fp16"], work, rates, shape))
        cases += kernel_cases(CudaDevice, shape, rates)
    cases += torch_warps(shape, device, rates)
    cases += pipeline_cases(
        lambda: Registrar.load(models["fp16"], device=device), scans, labels, affine, rates
    )
    facts: dict[str, object] = {
        "machine": {
            **describe_machine(["numpy"]),
            "torch": torch.__version__,
            # Not by the name of its package, of which there are several.
            "onnxruntime": onnxruntime.__version__,
        },
        "model grid": "x".join(map(str, shape)),
        "moving": scans[0].grid.describe(),
        "fixed": scans[1].grid.describe(),
        "work": asdict(work),
        "rates, a second": asdict(rates),
    }
    return cases, facts


def variant_case(
    path: Path, name: str, shape: tuple[int, int, int], work: Work, rates: Rates, **how: Any
) -> Case:
    """ONNX Runtime set up in another way than a Registrar does: whether that pays."""
    from vmruntime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend

    return engine_case(
        path, f"onnxruntime cuda FP16, {name}", shape, work, rates, precision="fp16",
        backend=lambda artifact: OnnxRuntimeCudaBackend(artifact, **how),
    )  # fmt: skip


if __name__ == "__main__":
    main()
