"""``vm-export``: trained checkpoint to artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vmruntime.cli.command import Command, progress
from vmruntime.cli.options import IntensityRuleText, Numbers
from vmruntime.errors import MissingDependencyError
from vmruntime.version import __version__

__all__ = ["main"]

FILE = click.Path(path_type=Path)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The artifact to write (.onnx).")
@click.option(
    "--shape",
    type=Numbers(int, 3),
    metavar="D,H,W",
    help="Voxels of the model grid.  [default: the one it was trained on]",
)
@click.option("--dynamic", is_flag=True, help="Any D, H, W in multiples of the network's stride.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: U-Net in float16; tail, inputs and outputs in float32.",
)
@click.option(
    "--orientation",
    metavar="CODE",
    default="LIA",
    show_default=True,
    help="World direction that each axis of the model grid runs toward.",
)
@click.option(
    "--voxel-size",
    metavar="D,H,W",
    type=Numbers(float, 3),
    default="1,1,1",
    show_default=True,
    help="Millimetres along each axis of the model grid.",
)
@click.option(
    "--intensity",
    type=IntensityRuleText(),
    default="divide:255",
    show_default=True,
    metavar="RULE",
    help="How the training scans were scaled: divide:255, minmax, percentile:1,99 or none.",
)
@click.option("--verify-moving", type=FILE, help="Scan to verify on.  [default: a phantom]")
@click.option("--verify-fixed", type=FILE, help="Scan to verify on.")
@click.option("--verify-moving-seg", type=FILE, help="Its labels, to compare Dice.")
@click.option("--verify-fixed-seg", type=FILE, help="Its labels, to compare Dice.")
@click.option(
    "--max-error",
    type=click.FloatRange(min=0),
    metavar="VOXELS",
    help="Largest displacement error to accept.  [default: 0.001, fp16: 0.1]",
)
@click.option(
    "--p99-error",
    type=click.FloatRange(min=0),
    metavar="VOXELS",
    help="The same for 99 % of the voxels.  [default: none, fp16: 0.02]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(
    checkpoint: Path,
    output: Path,
    shape: tuple[int, int, int] | None,
    dynamic: bool,
    precision: str,
    orientation: str,
    voxel_size: tuple[float, float, float],
    intensity: str,
    verify_moving: Path | None,
    verify_fixed: Path | None,
    verify_moving_seg: Path | None,
    verify_fixed_seg: Path | None,
    max_error: float | None,
    p99_error: float | None,
    force: bool,
    verbose: bool,
) -> None:
    """Export a trained VoxelMorph CHECKPOINT to an ONNX artifact that vm-infer runs.

    CHECKPOINT is a file of voxelmorph's VxmDense.save (PyTorch) or a Keras .h5 of the official
    models; which one is detected. The artifact is compared with the checkpoint before it is
    written.

    \b
    vm-export model.pt -o model.onnx
    """  # noqa: D301  (click reads the escape)
    announce = progress(verbose)
    announce("loading PyTorch")
    try:
        from vmexport.artifact import ExportOptions, export_artifact
    except ImportError as error:
        raise MissingDependencyError(
            f"vm-export needs {error.name}; pip install 'voxelmorph-deploy[export]'"
        ) from error
    manifest = export_artifact(
        checkpoint,
        output,
        ExportOptions(
            shape=shape,
            dynamic=dynamic,
            precision=precision,
            orientation=orientation.upper(),
            voxel_size=voxel_size,
            intensity=intensity,
            max_error=max_error,
            p99_error=p99_error,
        ),
        verify_moving=verify_moving,
        verify_fixed=verify_fixed,
        verify_moving_labels=verify_moving_seg,
        verify_fixed_labels=verify_fixed_seg,
        force=force,
        progress=announce,
    )
    click.echo("\n".join(_summary(output, manifest.to_dict())))


def _summary(output: Path, facts: dict[str, Any]) -> list[str]:
    """What was written and how well it agrees with the checkpoint."""
    free = f"any multiple of {facts['stride']}"
    grid = " x ".join(map(str, facts["shape"])) if facts["shape"] else free
    voxel = " x ".join(f"{size:g}" for size in facts["voxel_size"])
    measured = facts["verification"]
    lines = [
        f"{output}  {output.stat().st_size / 1e6:.2f} MB, {facts['precision']}",
        f"from       {facts['source']['layout']}",
        f"grid       {grid}, {facts['orientation']}, {voxel} mm",
        f"intensity  {facts['intensity']}",
        f"verified   on {measured['pair']}, {measured['engine']}, against PyTorch",
    ]
    for name in ("displacement", "inverse_displacement"):
        if name in measured:
            error = measured[name]
            lines.append(
                f"           {name} error: mean {error['mean']:g}, p99 {error['p99']:g}, "
                f"max {error['max']:g} voxel ({error['max_mm']:g} mm) at {tuple(error['where'])}"
            )
    for name, figure in measured["source"].items():
        lines.append(f"           {name}: {figure:g} (checkpoint), {measured['artifact'][name]:g}")
    return lines
