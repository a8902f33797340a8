"""What ``vm-infer`` does with its options: load, register, measure, write."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from vmruntime.artifact import Artifact
from vmruntime.cli.bids import bids_names
from vmruntime.cli.command import progress
from vmruntime.cli.producing import Files, produce, read_inputs
from vmruntime.cli.summary import summary
from vmruntime.io.nifti import COMPRESSION
from vmruntime.io.outputs import Outputs
from vmruntime.io.together import Background
from vmruntime.plan_records import is_verified, unverified_notice
from vmruntime.registrar import Registrar
from vmruntime.stages import Stages

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
    precision: str
    threads: int | None
    verbose: bool
    compression: int = COMPRESSION

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
        from vmruntime.figure import require_matplotlib

        require_matplotlib()
    stages = Stages(progress(request.verbose))
    stages.seconds["start"] = time.perf_counter() - began
    # Output names are checked before the work, and the files get them together after all of it.
    # Scans are read while the engine is loaded.
    with Outputs(force=request.force) as outputs:
        files = Files(request, outputs)
        reading = Background(partial(read_inputs, request))
        with stages("load"):
            artifact = Artifact.read(request.model)
            registrar = Registrar.load(
                artifact,
                backend=request.backend,
                device=request.device,
                threads=request.threads,
                precision=request.precision,
                announce=_say if request.verbose else None,
            )
        with registrar:
            if notice := unverified_notice(artifact):
                click.echo(f"Warning: {notice} [unverified-plan]", err=True)
            with stages("read"):
                inputs = reading.result()
            facts = produce(
                request,
                registrar,
                inputs,
                files,
                verified=is_verified(artifact),
                began=began,
                stages=stages,
                local=request.report is not None or request.report_html is not None,
                warn=lambda code, text: _say(f"Warning: {text} [{code}]"),
            )
    return summary(facts)


def _say(text: str) -> None:
    click.echo(text, err=True)


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
