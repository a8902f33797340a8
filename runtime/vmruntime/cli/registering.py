"""What ``vm-infer`` does with its options: load, register, measure, write."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import click

from vmruntime.cli.bids import bids_names
from vmruntime.cli.command import progress
from vmruntime.cli.summary import summary
from vmruntime.figure import draw_figure, require_matplotlib
from vmruntime.html_report import write_html
from vmruntime.io.affine_files import write_affine
from vmruntime.io.images import read_labels, read_scan
from vmruntime.io.nifti import write_volume
from vmruntime.io.outputs import Outputs
from vmruntime.io.transform_files import TRANSFORM_SUFFIXES, require_writer, write_transform
from vmruntime.registrar import OutputGrid, Registrar
from vmruntime.registration import Registration
from vmruntime.report import build_report
from vmruntime.stages import Stages
from vmruntime.volume import Volume

__all__ = ["Request", "run"]


@dataclass(frozen=True)
class Request:
    """The options of ``vm-infer``, by their names there."""

    model: Path
    moving: Path
    fixed: Path
    force: bool
    moved: Path | None
    warp: Path | None
    inverse_warp: Path | None
    affine_out: Path | None
    moving_seg: tuple[Path, ...]
    moved_seg: tuple[Path, ...]
    image_interp: Literal["linear", "cubic"]
    interp: Literal["nearest", "label"]
    confidence: Path | None
    fixed_seg: Path | None
    dice_labels: tuple[int, ...] | None
    jacobian: Path | None
    grid: str
    affine: str | None
    affine_search: Literal["quick", "full"]
    force_affine: bool
    reference: Path | None
    intensity: str | None
    moving_intensity: str | None
    fixed_intensity: str | None
    report: Path | None
    report_html: Path | None
    figure: Path | None
    bids_prefix: str | None
    backend: str
    device: str
    threads: int | None
    verbose: bool

    def outputs(self) -> tuple[Path | None, ...]:
        """Every file that could be written, without the carried labels."""
        return (
            self.moved, self.warp, self.inverse_warp, self.affine_out, self.confidence,
            self.jacobian, self.report, self.report_html, self.figure,
        )  # fmt: skip


def run(request: Request, began: float) -> str:
    """Register a pair as asked.

    Parameters
    ----------
    request
        The options.
    began
        `time.perf_counter` when the command started.

    Returns
    -------
    str
        The figures that a person wants to see.

    Raises
    ------
    click.UsageError
        Options that make no sense together.
    VMError
        Anything else that went wrong; nothing was written.
    """
    request = _named(request)
    _require_sense(request)
    if request.figure or request.report_html:
        require_matplotlib()
    stages = Stages(progress(request.verbose))
    stages.seconds["start"] = time.perf_counter() - began
    # Output names are checked before the work, and the files get them together after all of it.
    with Outputs(force=request.force) as outputs:
        files = _Files(request, outputs)
        with stages("load"):
            registrar = Registrar.load(
                request.model,
                backend=request.backend,
                device=request.device,
                threads=request.threads,
            )
        with registrar:
            with stages("read"):
                moving, fixed = read_scan(request.moving), read_scan(request.fixed)
                labels = [_labels_of(moving, path, "moving") for path in request.moving_seg]
                fixed_labels = None
                if request.fixed_seg:
                    fixed_labels = _labels_of(fixed, request.fixed_seg, "fixed")
            result = registrar.register(
                moving,
                fixed,
                affine=request.affine,
                affine_search=request.affine_search,
                force_affine=request.force_affine,
                reference=request.reference,
                intensity=request.intensity,
                moving_intensity=request.moving_intensity,
                fixed_intensity=request.fixed_intensity,
                inverse=request.inverse_warp is not None,
                interpolation=request.image_interp,
                labels=labels,
                label_interpolation=request.interp,
                grid=_grid(request.grid),
                stages=stages,
            )
            for code, text in result.warnings:
                click.echo(f"Warning: {text} [{code}]", err=True)
            carried = result.moved_labels
            shares = result.vote_labels(labels[0])[1] if request.confidence else None
            quality = result.quality(
                moving_labels=labels[0] if labels else None,
                fixed_labels=fixed_labels,
                moved_labels=carried[0] if carried else None,
                labels=request.dice_labels,
                local=request.report is not None or request.report_html is not None,
            )
            # Before "write", or its seconds would count twice.
            jacobian = result.jacobian() if files.jacobian else None
            with stages("write"):
                files.write(result, shares, jacobian)
            if files.figure:
                with stages("figure"):
                    draw_figure(
                        files.figure, result, quality, carried[0] if carried else None, fixed_labels
                    )
            facts = build_report(registrar, result, quality, time.perf_counter() - began)
            if files.html:
                first = carried[0] if carried else None
                write_html(files.html, result, quality, facts, first, fixed_labels)
            if files.report:
                files.report.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return summary(facts)


class _Files:
    """Temporary names of everything that is to be written.

    Parameters
    ----------
    request
        The options.
    outputs
        What gives the names.
    """

    def __init__(self, request: Request, outputs: Outputs) -> None:
        def image(path: Path | None) -> Path | None:
            return outputs.image(path) if path else None

        def transform(path: Path | None) -> Path | None:
            if path is None:
                return None
            require_writer(path)
            return outputs.file(path, TRANSFORM_SUFFIXES)

        self.moved = image(request.moved)
        self.labels = [outputs.image(path) for path in request.moved_seg]
        self.confidence = image(request.confidence)
        self.jacobian = image(request.jacobian)
        self.warp = transform(request.warp)
        self.inverse = transform(request.inverse_warp)
        affine, report, page = request.affine_out, request.report, request.report_html
        suffixes = (".txt", ".tfm", ".mat", ".lta")
        self.affine = outputs.file(affine, suffixes) if affine else None
        self.report = outputs.file(report, (".json",)) if report else None
        self.html = outputs.file(page, (".html",)) if page else None
        self.figure = outputs.file(request.figure, (".png",)) if request.figure else None

    def write(self, result: Registration, shares: Volume | None, jacobian: Volume | None) -> None:
        """Write images and transforms."""
        if self.moved:
            write_volume(self.moved, result.moved)
        for path, volume in zip(self.labels, result.moved_labels, strict=False):
            write_volume(path, volume)
        if self.confidence and shares:
            write_volume(self.confidence, shares)
        if self.jacobian and jacobian:
            write_volume(self.jacobian, jacobian)
        if self.warp:
            write_transform(self.warp, result.transform)
        if self.inverse and result.inverse:
            write_transform(self.inverse, result.inverse)
        if self.affine:
            transform = result.transform
            grids = {"moving": transform.moving, "fixed": transform.fixed}
            write_affine(self.affine, transform.affine, **grids)


def _labels_of(scan: Volume, path: Path, role: str) -> Volume:
    """Read labels, and find out before the work whether they belong to the scan."""
    labels = read_labels(path)
    labels.require_grid(scan.grid, role)
    return labels


def _grid(given: str) -> OutputGrid:
    if given in ("fixed", "moving", "model"):
        return cast(OutputGrid, given)
    return read_scan(given).grid


def _named(request: Request) -> Request:
    """Fill in the names of BIDS derivatives where a prefix was given."""
    if request.bids_prefix is None:
        return request
    names: dict[str, Any] = bids_names(request.bids_prefix, len(request.moving_seg))
    return replace(request, **{k: v for k, v in names.items() if not getattr(request, k)})


def _require_sense(request: Request) -> None:
    """Refuse options that cannot do anything together."""
    if not any(request.outputs()) and not request.moved_seg:
        raise click.UsageError(
            "nothing to write; give at least one of --moved, --warp, --inverse-warp, --affine-out, "
            "--moved-seg, --jacobian, --report, --report-html, --figure, --bids-prefix"
        )
    if len(request.moved_seg) > len(request.moving_seg):
        raise click.UsageError(
            f"{len(request.moved_seg)} --moved-seg for {len(request.moving_seg)} --moving-seg; "
            "give the labels to carry over in the same order"
        )
    if request.fixed_seg and not request.moving_seg:
        raise click.UsageError("--fixed-seg is compared with carried labels: give --moving-seg")
    if request.confidence and not (request.moving_seg and request.interp == "label"):
        raise click.UsageError("--confidence needs --moving-seg and --interp label")
