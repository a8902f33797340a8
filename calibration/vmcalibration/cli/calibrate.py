"""``vm-calibrate``: which precision is safe for a model, measured on one's own scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmcalibration.cli.bar import Bar
from vmruntime.cli.command import Command
from vmruntime.cli.options import IntensityRuleText, Numbers
from vmruntime.errors import MissingDependencyError
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmcalibration import Calibrated

__all__ = ["main"]

FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)
option = partial(click.option, show_default=True)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="MODEL.onnx|CHECKPOINT", type=FILE)
@click.option(
    "--pairs",
    required=True,
    type=FILE,
    metavar="CSV|DIR",
    help="Pairs of scans: a CSV file with the columns moving,fixed[,moving_seg,fixed_seg"
    "[,moving_intensity,fixed_intensity]], paths relative to it; or a folder with "
    "NAME_moving.nii.gz, NAME_fixed.nii.gz[, NAME_moving_seg.nii.gz, NAME_fixed_seg.nii.gz].",
)
@click.option(
    "-o", "--output", required=True, type=FILE, metavar="DIR", help="Folder for the results."
)
@option(
    "--precision",
    type=click.Choice(["auto", "fp16", "bf16", "int8"]),
    default="auto",
    help="The number format to look at; auto: all of them.",
)
@option(
    "--budget-mm",
    type=POSITIVE,
    default=0.1,
    metavar="MM",
    help="Displacement error against float32 that 99 % of the voxels may have.",
)
@option(
    "--budget-dice",
    type=POSITIVE,
    default=0.002,
    metavar="DICE",
    help="Loss of mean Dice against float32.",
)
@option(
    "--method",
    type=click.Choice(["minmax", "percentile", "entropy"]),
    default="minmax",
    help="Where INT8 cuts a tensor off.",
)
@click.option(
    "--intensity",
    type=IntensityRuleText(),
    metavar="RULE",
    help="Instead of the model's rule, for scans that the CSV has none for.",
)
@click.option(
    "--labels",
    "--dice-labels",
    "labels",
    type=Numbers(int),
    metavar="LABELS",
    help="Labels to measure Dice on, such as 2,3,41.  [default: all that both scans have]",
)
@option(
    "--backend",
    type=click.Choice(["auto", "openvino", "onnxruntime"]),
    default="auto",
    help="Engine to measure with; auto: vm-infer's choice.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="[default: all cores]")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(source: Path, pairs: Path, output: Path, **given: Any) -> None:
    """Find the lowest precision that keeps a model's displacements and Dice within a budget.

    Every layer's ranges are collected over the pairs, every layer is tried in FP16 and INT8 alone,
    the smallest set of layers that has to stay FP32 is searched, and the candidates are measured
    against FP32 on every pair, with seconds and memory on this machine. DIR gets the recommended
    model_PRECISION.onnx, verified, the plans that vm-export --precision-plan follows, report.json
    and report.html. A run that was stopped goes on where it was.

    \b
    vm-calibrate model.onnx --pairs pairs.csv -o out
    """  # noqa: D301  (click reads the escape)
    with _extra():
        from vmcalibration import CalibrationError, CalibrationOptions, calibrate

    force, verbose = given.pop("force"), given.pop("verbose")
    with Bar(verbose) as bar:
        found = calibrate(
            source,
            pairs,
            output,
            CalibrationOptions(**given),
            force=force,
            progress=bar.say,
            warn=bar.warn,
        )
    click.echo("\n".join(_lines(found, output)))
    if found.skipped:
        total = len(found.skipped) + len(found.report["pairs"]["used"])
        first, reason = next(iter(found.skipped.items()))
        raise CalibrationError(
            f"{len(found.skipped)} of {total} pairs could not be used and the results are of the "
            f"others; {first}: {reason}"
        )


def _lines(found: Calibrated, output: Path) -> list[str]:
    rows = [f"{'':<34} {'p99 mm':>9} {'max mm':>9} {'Dice':>8} {'seconds':>8} {'GB':>6}  budget"]
    for candidate in found.report["candidates"]:
        verdict, timing = candidate["verdict"], candidate["timing"] or {}
        loss, peak = verdict["dice_loss"], timing.get("peak_mb")
        seconds = timing.get("seconds")
        rows.append(
            f"{candidate['title']:<34} {_number(verdict['p99_mm']):>9} "
            f"{_number(verdict['max_mm']):>9} "
            f"{'-' if loss is None else format(-loss or 0.0, '+.4f'):>8} "
            f"{'-' if seconds is None else format(seconds, '.2f'):>8} "
            f"{'-' if peak is None else format(peak / 1000, '.2f'):>6}  "
            f"{'met' if verdict['meets'] else 'not met'}"
        )
    for risk in found.report["risks"]:
        if risk["kind"] == "overflow":
            rows.append(f"overflow in FP16: {risk['text']}")
    return [*rows, "", found.decision.sentence, f"{found.model}", f"{output / 'report.html'}"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


@contextmanager
def _extra() -> Iterator[None]:
    """Name the extra where one of the packages that calibrating needs is not there."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"vm-calibrate needs {error.name}; pip install 'voxelmorph-deploy[calibration]'"
        ) from error
