"""``vm-inspect``: what is in an artifact, and whether it is right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmruntime.cli.command import Command, progress
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact
    from vmruntime.backends import TensorSpec

__all__ = ["main"]

FILE = click.Path(path_type=Path)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--verify",
    is_flag=True,
    help="Try it on a phantom pair: an ONNX model in onnxruntime, against the displacement it "
    "gives; a plan on the GPU, against the ONNX model it was built from.",
)
@click.option(
    "--onnx", type=FILE, help="With --verify: that ONNX model.  [default: found beside the plan]"
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cuda[:N]",
    help="With --verify: the GPU that a plan runs on.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="[default: all cores]")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
def main(
    file: Path,
    as_json: bool,
    verify: bool,
    onnx: Path | None,
    device: str,
    threads: int | None,
    verbose: bool,
) -> None:
    """Print the manifest, inputs, outputs, precision and verification of an artifact.

    FILE is a model.onnx or a plan; neither an engine nor a GPU is needed, but for --verify.
    """
    if onnx and not verify:
        raise click.UsageError("--onnx is for --verify")
    from vmruntime.artifact import Artifact
    from vmruntime.plan_records import is_verified, record_verified
    from vmruntime.self_check import check

    artifact = Artifact.read(file)
    inputs, outputs = _signature(artifact)
    facts: dict[str, Any] = {
        "file": str(file),
        "kind": artifact.kind,
        "bytes": len(artifact.model),
        "sha256": hashlib.sha256(artifact.model).hexdigest(),
        "inputs": [_tensor(spec) for spec in inputs],
        "outputs": [_tensor(spec) for spec in outputs],
        "manifest": artifact.manifest.to_dict(),
    }
    if verify:
        progress(verbose)("verifying")
        facts["checked"] = check(artifact, onnx=onnx, device=device, threads=threads)
        if artifact.kind == "plan" and not record_verified(artifact, facts["checked"]):
            click.echo(
                "Warning: the cache folder cannot be written; vm-infer will go on calling this "
                "plan unverified",
                err=True,
            )
    if artifact.kind == "plan":
        facts["verified"] = is_verified(artifact)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def _signature(artifact: Artifact) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs: an ONNX file says them, for a plan they follow from the manifest."""
    from vmruntime.backends import TensorSpec
    from vmruntime.onnx_signature import read_signature

    if artifact.kind == "onnx":
        return read_signature(artifact.model)
    manifest = artifact.manifest
    grid = manifest.shape or (None, None, None)
    channels = {"moving": manifest.moving_channels, "fixed": manifest.fixed_channels}
    given = {"moved": manifest.moving_channels, "displacement": 3}
    if manifest.diffeomorphic:
        given["inverse_displacement"] = 3
    inputs, outputs = (
        tuple(TensorSpec(name, "float", (1, count, *grid)) for name, count in tensors.items())
        for tensors in (channels, given)
    )
    return inputs, outputs


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """Nested facts as indented ``name  value`` lines."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{_plain(name)}", *_lines(value, indent + "  ")]
        elif not indent and name in ("inputs", "outputs"):
            lines.append(f"{indent}{name}")
            for tensor in value:
                axes = " x ".join("free" if n is None else str(n) for n in tensor["shape"])
                lines.append(f"{indent}  {_plain(tensor['name']):<22} {tensor['dtype']:<8} {axes}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            text = "-" if shown is None else str(shown)
            lines.append(f"{indent}{_plain(name):<{24 - len(indent)}} {_plain(text)}")
    return lines


def _plain(text: str) -> str:
    """A hostile manifest must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
