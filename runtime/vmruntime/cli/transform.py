"""``vm-transform``: apply saved transforms to images, labels, series and points."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmruntime.cli.command import Command, progress
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmruntime.chain import Chain
    from vmruntime.grid import Grid

__all__ = ["main"]

FILE = click.Path(path_type=Path)

TO_MOVING, TO_FIXED = "fixed-to-moving", "moving-to-fixed"


class TransformPath(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """A transform's file, or ``[FILE,1]`` for its inverse."""

    name = "transform"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Path, bool]:
        """Parse an option's value."""
        if isinstance(value, tuple):
            return value
        text = str(value)
        if not text.startswith("["):
            return Path(text), False
        path, comma, flag = text[1:-1].rpartition(",")
        if not text.endswith("]") or not comma or not path or flag.strip() not in ("0", "1"):
            self.fail(f"{value!r} is neither FILE nor [FILE,0] nor [FILE,1]")
        return Path(path), flag.strip() == "1"


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-i", "--input", "image", type=FILE, help="Image of the moving world (NIfTI, MGH).")
@click.option("-r", "--reference", type=FILE, help="Image whose grid the output gets.")
@click.option("-o", "--output", type=FILE, required=True, help="Write .nii, .nii.gz, or .csv.")
@click.option(
    "-t",
    "--transform",
    "transforms",
    type=TransformPath(),
    required=True,
    multiple=True,
    metavar="FILE|[FILE,1]",
    help="Warp, affine or .h5; several as for antsApplyTransforms; [FILE,1]: an affine's inverse.",
)
@click.option(
    "--interp",
    type=click.Choice(["linear", "nearest", "label", "cubic"]),
    default="linear",
    show_default=True,
    help="label: voting by linear weights.",
)
@click.option("--confidence", type=FILE, help="Write the winning label's weight (--interp label).")
@click.option("--points", type=FILE, help="Carry points (.csv: x,y,z in RAS mm) and no image.")
@click.option(
    "--direction",
    type=click.Choice([TO_MOVING, TO_FIXED]),
    help="With --points: which world they are in, and which they go to.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="[default: all cores]")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(
    image: Path | None,
    reference: Path | None,
    output: Path,
    transforms: tuple[tuple[Path, bool], ...],
    interp: str,
    confidence: Path | None,
    points: Path | None,
    direction: str | None,
    threads: int | None,
    force: bool,
    verbose: bool,
) -> None:
    """Apply saved transforms to an image, labels, a 4-D series or points.

    The transforms are the ones that carry an IMAGE from the moving to the fixed world, in
    antsApplyTransforms' order. Points go the other way with the same files: a transform says for
    each place of the fixed world where to look in the moving one, so fixed-to-moving applies it
    as it is, and moving-to-fixed takes landmarks of the moving scan to where the image shows them.

    \b
    vm-transform -i moving.nii.gz -r fixed.nii.gz -t warp.nii.gz -t affine.txt -o moved.nii.gz
    vm-transform -i labels.nii.gz -r fixed.nii.gz -t warp.nii.gz --interp label -o moved.nii.gz
    vm-transform --points marks.csv --direction moving-to-fixed -t warp.nii.gz -o moved.csv
    """  # noqa: D301  (click reads the escape)
    _require_sense(image, reference, interp, confidence, points, direction)
    from vmruntime.io.outputs import Outputs
    from vmruntime.io.series import read_grid, read_series, write_series

    say = progress(verbose)
    with Outputs(force=force) as outputs:
        out = outputs.file(output, (".csv",)) if points else outputs.image(output)
        sure = outputs.image(confidence) if confidence else None
        fixed = read_grid(reference) if reference else None
        if points:
            moving = read_grid(image) if image else None
            _carry_points(points, out, _chain(transforms, moving, fixed), direction)
            return
        assert image  # _require_sense
        assert fixed
        say("reading")
        series = read_series(image, labels=interp == "label")
        chain = _chain(transforms, series.grid, fixed)
        say("resampling")
        moved, weights = series.resample(
            chain,
            fixed,
            interp,  # type: ignore[arg-type]  # click.Choice
            threads=threads or len(os.sched_getaffinity(0)),
        )
        say("writing")
        write_series(out, moved)
        if sure and weights:
            write_series(sure, weights)


def _require_sense(
    image: Path | None,
    reference: Path | None,
    interp: str,
    confidence: Path | None,
    points: Path | None,
    direction: str | None,
) -> None:
    """Refuse options that cannot do anything together."""
    if points:
        if not direction:
            raise click.UsageError(
                f"--points needs --direction {TO_MOVING} (the transform as it is) or {TO_FIXED} "
                "(where the moved image shows them)"
            )
        if confidence or interp != "linear":
            raise click.UsageError("--interp and --confidence are for images, not --points")
        return
    if direction:
        raise click.UsageError("--direction is for --points; an image goes from moving to fixed")
    if not image or not reference:
        raise click.UsageError("give an image and a grid for it (-i and -r), or --points")
    if confidence and interp != "label":
        raise click.UsageError("--confidence needs --interp label")


def _chain(
    transforms: tuple[tuple[Path, bool], ...], moving: Grid | None, fixed: Grid | None
) -> Chain:
    from vmruntime.io.chain_files import read_chain

    paths = [path for path, _ in transforms]
    return read_chain(paths, [inverse for _, inverse in transforms], moving=moving, fixed=fixed)


def _carry_points(points: Path, out: Path, chain: Chain, direction: str | None) -> None:
    from vmruntime.invert_points import map_backwards
    from vmruntime.io.points import PointList, read_points, write_points

    given = read_points(points)
    there = (
        chain.map(given.points) if direction == TO_MOVING else map_backwards(chain, given.points)
    )
    write_points(out, PointList(there, given.rest, given.header))
