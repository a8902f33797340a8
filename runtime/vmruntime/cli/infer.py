"""``vm-infer``: register a pair of scans."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from vmruntime.cli.command import Command
from vmruntime.cli.options import DeviceText, IntensityRuleText, Numbers
from vmruntime.version import __version__

__all__ = ["main"]

FILE = click.Path(path_type=Path)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=FILE)
@click.option("--moving", type=FILE, required=True, help="Scan to be carried over (NIfTI or MGH).")
@click.option("--fixed", type=FILE, required=True, help="Scan it is carried onto.")
@click.option("--moved", type=FILE, help="Write the moved scan (.nii, .nii.gz).")
@click.option(
    "--warp",
    type=FILE,
    help="Write the transform: a displacement field (.nii, .nii.gz) or an ITK composite (.h5).",
)
@click.option("--inverse-warp", type=FILE, help="Write its inverse, likewise.")
@click.option("--affine-out", type=FILE, help="Write the affine: ITK .txt, FSL .mat or .lta.")
@click.option("--moving-seg", type=FILE, multiple=True, help="Labels of the moving scan.  [many]")
@click.option("--moved-seg", type=FILE, multiple=True, help="Write them carried over.  [many]")
@click.option(
    "--image-interp",
    type=click.Choice(["linear", "cubic"]),
    default="linear",
    show_default=True,
    help="How the moving scan is carried.",
)
@click.option(
    "--interp",
    type=click.Choice(["nearest", "label"]),
    default="nearest",
    show_default=True,
    help="How labels are carried; label: the label with the largest share of a voxel wins.",
)
@click.option("--confidence", type=FILE, help="Write that share, for the first --moving-seg.")
@click.option("--fixed-seg", type=FILE, help="Labels of the fixed scan, to measure Dice.")
@click.option(
    "--dice-labels",
    type=Numbers(int),
    metavar="L,L,...",
    help="Labels that Dice is measured on.  [default: all that occur in both]",
)
@click.option("--jacobian", type=FILE, help="Write the volume change det J (.nii, .nii.gz).")
@click.option(
    "--grid",
    default="fixed",
    show_default=True,
    metavar="fixed|moving|model|FILE",
    help="Where moved scan and labels come to lie.",
)
@click.option(
    "--affine",
    metavar="auto|none|header|FILE",
    help="Alignment before the network: computed; none, both scans stand on the model's grid; "
    "the headers' world; or a file (ITK, FSL, LTA).  [default: none where both scans stand on the "
    "model's grid at one place, else auto]",
)
@click.option(
    "--affine-search",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="full: from any rotation, slower.",
)
@click.option("--force-affine", is_flag=True, help="Go on where the alignment looks wrong.")
@click.option(
    "--reference",
    type=FILE,
    help="Scan of the model's training space, to place its grid.  [default: around the foreground]",
)
@click.option(
    "--intensity",
    type=IntensityRuleText(),
    metavar="RULE",
    help="Instead of the model's rule: divide:255, minmax, percentile:1,99 or none.",
)
@click.option(
    "--moving-intensity",
    type=IntensityRuleText(),
    metavar="RULE",
    help="The same for the moving scan only.",
)
@click.option(
    "--fixed-intensity",
    type=IntensityRuleText(),
    metavar="RULE",
    help="The same for the fixed scan only.",
)
@click.option("--report", type=FILE, help="Write all figures as JSON.")
@click.option("--report-html", type=FILE, help="Write figures and picture as one page (.html).")
@click.option("--figure", type=FILE, help="Write a picture (.png) to judge the result by.")
@click.option(
    "--bids-prefix",
    metavar="PREFIX",
    help="Write every output under names of BIDS derivatives, such as out/sub-01_.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "cuda", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]),
    default="auto",
    show_default=True,
    help="Inference engine; auto: the best that this machine and MODEL allow (-v says why).",
)
@click.option(
    "--device",
    type=DeviceText(),
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="What the engine runs on.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="What the U-Net is computed in; auto: the file's, or the engine's best.",
)
@click.option(
    "--compression",
    type=click.IntRange(0, 3),
    default=1,
    show_default=True,
    help="How hard .nii.gz outputs are packed: 0 fastest, 3 smallest.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="[default: all cores]")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(model: Path, moving: Path, fixed: Path, force: bool, **options: Any) -> None:
    """Register MOVING onto FIXED with MODEL (made by vm-export), and carry labels over.

    MODEL is a model.onnx, or a plan for an NVIDIA GPU.

    Scans may have any orientation, voxel size and field of view.

    \b
    vm-infer model.onnx --moving m.nii.gz --fixed f.nii.gz --moved moved.nii.gz \\
             --moving-seg labels.nii.gz --moved-seg moved_labels.nii.gz
    """  # noqa: D301  (click reads the escape)
    began = time.perf_counter()
    from vmruntime.cli.registering import Request, run

    click.echo(run(Request(model, moving, fixed, force, **options), began))
