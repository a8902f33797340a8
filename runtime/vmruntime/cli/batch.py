"""``vm-batch``: register many pairs of scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vmruntime.cli.command import Command
from vmruntime.cli.options import DeviceText, IntensityRuleText, Numbers
from vmruntime.version import __version__

__all__ = ["main"]

FILE = click.Path(path_type=Path)


class Kinds(click.ParamType):  # type: ignore[type-arg]
    """Some of the files that can be written of a pair, separated by commas."""

    name = "kinds"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Parse an option's value."""
        from vmruntime.batch.settings import WRITABLE

        if isinstance(value, tuple):
            return value
        kinds = tuple(part.strip() for part in str(value).split(","))
        for kind in kinds:
            if kind not in WRITABLE:
                self.fail(f"{kind!r} is not one of {', '.join(WRITABLE)}")
        return tuple(dict.fromkeys(kinds))


class Gpus(click.ParamType):  # type: ignore[type-arg]
    """Numbers of GPUs separated by commas."""

    name = "gpus"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse an option's value."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isascii() and part.isdigit() for part in parts):
            self.fail(f"{value!r} is not one or more numbers of GPUs separated by commas")
        return tuple(dict.fromkeys(int(part) for part in parts))


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="Folder of the results.")
@click.option(
    "--pairs",
    type=FILE,
    help="Table (.csv, .tsv) with columns moving, fixed and perhaps moving_seg, fixed_seg, id.",
)
@click.option(
    "--atlas", multiple=True, metavar="SCAN:LABELS", help="Labelled scan to carry over.  [many]"
)
@click.option(
    "--subjects",
    metavar="PATTERN|BIDS_DIR",
    help="What the atlases are carried onto: 'scans/*.nii.gz', or the T1w scans of a data set.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Worker processes here; with --slurm, jobs.  [default: one a GPU, else one for 4 cores]",
)
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs: tcp://HOST:PORT.")
@click.option("--slurm", type=FILE, help="Options of dask-jobqueue's SLURMCluster (.yaml, .json).")
@click.option(
    "--threads-per-worker",
    type=click.IntRange(1),
    metavar="N",
    help="[default: the cores, shared out evenly]",
)
@click.option("--gpus", type=Gpus(), metavar="N,N,...", help="GPUs of this machine, one a worker.")
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="How many times more a pair is tried that failed.",
)
@click.option(
    "--fuse",
    type=click.Choice(["majority", "local-ncc"]),
    help="Fuse the labels of several atlases; local-ncc: the locally more alike count more.",
)
@click.option("--report", is_flag=True, help="Write report.html, one page of the cohort.")
@click.option("--dashboard", is_flag=True, help="Serve Dask's page, and say where.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, with --slurm the job.")
@click.option(
    "--write",
    type=Kinds(),
    default="moved,labels,warp,report",
    show_default=True,
    metavar="KIND,...",
    help="What is kept of each pair; also: inverse, affine, jacobian, figure.",
)
@click.option(
    "--image-interp", type=click.Choice(["linear", "cubic"]), default="linear", show_default=True,
    help="How the moving scan is carried.",
)  # fmt: skip
@click.option(
    "--interp", type=click.Choice(["nearest", "label"]), default="nearest", show_default=True,
    help="How labels are carried; label: the label with the largest share of a voxel wins.",
)  # fmt: skip
@click.option(
    "--dice-labels", type=Numbers(int), metavar="L,L,...",
    help="Labels that Dice is measured on.  [default: all that occur in both]",
)  # fmt: skip
@click.option(
    "--local-correlation", is_flag=True,
    help="Also measure the local correlation, which takes longer than the registration.",
)  # fmt: skip
@click.option(
    "--affine", metavar="auto|none|header|FILE", help="Alignment before the network, as vm-infer's."
)
@click.option(
    "--affine-search", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
    help="full: from any rotation, slower.",
)  # fmt: skip
@click.option("--force-affine", is_flag=True, help="Go on where an alignment looks wrong.")
@click.option("--reference", type=FILE, help="Scan of the model's training space.")
@click.option(
    "--intensity", type=IntensityRuleText(), metavar="RULE",
    help="Instead of the model's rule: divide:255, minmax, percentile:1,99 or none.",
)  # fmt: skip
@click.option(
    "--moving-intensity", type=IntensityRuleText(), metavar="RULE",
    help="The same for the moving scans only.",
)  # fmt: skip
@click.option(
    "--fixed-intensity", type=IntensityRuleText(), metavar="RULE",
    help="The same for the fixed scans only.",
)  # fmt: skip
@click.option(
    "--backend", default="auto", show_default=True, help="Inference engine.",
    type=click.Choice(["auto", "cuda", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]),
)  # fmt: skip
@click.option(
    "--device", type=DeviceText(), default="auto", show_default=True, metavar="auto|cpu|cuda[:N]",
    help="What the engine runs on.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
    show_default=True, help="What the U-Net is computed in.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files that vm-batch did not make.")
@click.option("-v", "--verbose", is_flag=True, help="Dask's own log; traceback on a defect.")
@click.version_option(__version__)
def main(**options: Any) -> None:
    """Register many pairs with MODEL (made by vm-export): on this machine or on a cluster.

    The same command again does what is left: pairs are known by what their files hold.

    \b
    vm-batch model.onnx --pairs pairs.csv -o out/
    vm-batch model.onnx --atlas a.nii.gz:a_labels.nii.gz --subjects 'scans/*.nii.gz' -o out/
    """  # noqa: D301  (click reads the escape)
    from vmruntime.cli.batching import Request, run

    run(Request(**options))
