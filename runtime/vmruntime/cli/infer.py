"""``vm-infer``: register a pair of scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vmruntime.cli.command import Command, progress
from vmruntime.cli.options import IntensityRuleText, Numbers
from vmruntime.version import __version__

__all__ = ["main"]

FILE = click.Path(path_type=Path)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=FILE)
@click.option("--moving", type=FILE, required=True, help="Scan to be carried over (NIfTI or MGH).")
@click.option("--fixed", type=FILE, required=True, help="Scan it is carried onto.")
@click.option("--moved", type=FILE, help="Write the moved scan (.nii, .nii.gz).")
@click.option("--warp", type=FILE, help="Write the displacement field for ITK, ANTs, Slicer.")
@click.option("--inverse-warp", type=FILE, help="Write its inverse (diffeomorphic models).")
@click.option("--moving-seg", type=FILE, help="Labels of the moving scan.")
@click.option("--moved-seg", type=FILE, help="Write them carried over, nearest neighbour.")
@click.option("--fixed-seg", type=FILE, help="Labels of the fixed scan, to measure Dice.")
@click.option(
    "--dice-labels",
    type=Numbers(int),
    metavar="L,L,...",
    help="Labels that Dice is measured on.  [default: all that occur in both]",
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
@click.option(
    "--affine",
    type=click.Choice(["none"]),
    default="none",
    show_default=True,
    help="Alignment before the network; none: both scans stand on the model's grid.",
)
@click.option("--report", type=FILE, help="Write all figures as JSON.")
@click.option("--figure", type=FILE, help="Write a picture (.png) to judge the result by.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="Inference engine.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu"]),
    default="cpu",
    show_default=True,
    help="What the engine runs on.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="[default: all cores]")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(
    model: Path,
    moving: Path,
    fixed: Path,
    moved: Path | None,
    warp: Path | None,
    inverse_warp: Path | None,
    moving_seg: Path | None,
    moved_seg: Path | None,
    fixed_seg: Path | None,
    dice_labels: tuple[int, ...] | None,
    intensity: str | None,
    moving_intensity: str | None,
    fixed_intensity: str | None,
    affine: str,
    report: Path | None,
    figure: Path | None,
    backend: str,
    device: str,
    threads: int | None,
    force: bool,
    verbose: bool,
) -> None:
    """Register MOVING onto FIXED with MODEL (made by vm-export), and carry labels over.

    \b
    vm-infer model.onnx --moving m.nii.gz --fixed f.nii.gz --moved moved.nii.gz \\
             --moving-seg labels.nii.gz --moved-seg moved_labels.nii.gz
    """  # noqa: D301  (click reads the escape)
    outputs_given = (moved, warp, inverse_warp, moved_seg, report, figure)
    _require_sense(outputs_given, moving_seg, moved_seg, fixed_seg)
    from vmruntime.figure import draw_figure, require_matplotlib
    from vmruntime.io.images import read_labels
    from vmruntime.io.itk import write_warp
    from vmruntime.io.nifti import write_volume
    from vmruntime.io.outputs import Outputs
    from vmruntime.registrar import Registrar
    from vmruntime.report import build_report
    from vmruntime.stages import Stages

    if figure:
        require_matplotlib()
    stages = Stages(progress(verbose))
    # Output names are checked before the work, and the files get them together after all of it.
    with Outputs(force=force) as outputs:
        images = {
            option: outputs.image(path)
            for option, path in (
                ("moved", moved),
                ("warp", warp),
                ("inverse", inverse_warp),
                ("labels", moved_seg),
            )
            if path
        }
        report_file = outputs.file(report, (".json",)) if report else None
        figure_file = outputs.file(figure, (".png",)) if figure else None
        with stages("load"):
            registrar = Registrar.load(model, backend=backend, device=device, threads=threads)
        with registrar:
            with stages("read"):
                labels = read_labels(moving_seg) if moving_seg else None
                fixed_labels = read_labels(fixed_seg) if fixed_seg else None
            result = registrar.register(
                moving,
                fixed,
                intensity=intensity,
                moving_intensity=moving_intensity,
                fixed_intensity=fixed_intensity,
                inverse=inverse_warp is not None,
                stages=stages,
            )
            for warning in result.warnings:
                click.echo(f"Warning: {warning}", err=True)
            carried = result.warp_labels(labels) if labels else None
            quality = result.quality(
                moving_labels=labels,
                fixed_labels=fixed_labels,
                moved_labels=carried,
                labels=dice_labels,
                local=report is not None,
            )
            with stages("write"):
                if moved:
                    write_volume(images["moved"], result.moved)
                if warp:
                    write_warp(images["warp"], result.transform)
                if result.inverse:
                    write_warp(images["inverse"], result.inverse)
                if moved_seg and carried:
                    write_volume(images["labels"], carried)
            if figure_file:
                with stages("figure"):
                    draw_figure(figure_file, result, quality, carried, fixed_labels)
            facts = build_report(registrar, result, quality)
            if report_file:
                report_file.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    click.echo(_summary(facts))


def _require_sense(
    outputs: tuple[Path | None, ...],
    moving_seg: Path | None,
    moved_seg: Path | None,
    fixed_seg: Path | None,
) -> None:
    """Refuse options that cannot do anything together."""
    if not any(outputs):
        raise click.UsageError(
            "nothing to write; give at least one of --moved, --warp, --inverse-warp, --moved-seg, "
            "--report, --figure"
        )
    if moved_seg and not moving_seg:
        raise click.UsageError("--moved-seg needs the labels to carry over: give --moving-seg")
    if fixed_seg and not moving_seg:
        raise click.UsageError("--fixed-seg is compared with carried labels: give --moving-seg")


def _summary(facts: dict[str, Any]) -> str:
    """The figures a person wants to see, as a small table."""
    before, after = facts["similarity"]["before"], facts["similarity"]["after"]
    rows = [("", "before", "after")]
    rows += [(name.upper(), f"{before[name]:.5f}", f"{after[name]:.5f}") for name in ("mse", "ncc")]
    if facts["dice"]:
        dice = facts["dice"]
        means = [dice[when]["mean"] for when in ("before", "after")]
        shown = ["-" if mean is None else f"{mean:.4f}" for mean in means]
        rows.append((f"Dice, {len(dice['after']['labels'])} labels", shown[0], shown[1]))
    folding = facts["regularity"]
    rows.append(
        ("folding", "", f"{folding['folding_voxels']} voxels ({folding['folding_percent']:.3g} %)")
    )
    seconds = facts["seconds"]
    rows.append(("seconds", "", f"{sum(seconds.values()):.2f} (network {seconds['network']:.2f})"))
    table = "\n".join(f"{name:<18}{first:>10}  {second:>10}" for name, first, second in rows)
    engine = facts["engine"]
    return (
        f"{engine['backend']} {engine['version']} on {engine['device']}, {engine['precision']}, "
        f"{engine['threads']} threads\n{table}"
    )
