"""``vm-inspect``: what is in an artifact."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from vmruntime.cli.command import Command
from vmruntime.version import __version__

__all__ = ["main"]


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Traceback on a defect.")
@click.version_option(__version__)
def main(file: Path, as_json: bool, verbose: bool) -> None:
    """Print the manifest, inputs, outputs, precision and verification of an artifact."""
    from vmruntime.artifact import Artifact
    from vmruntime.backends import open_backend

    artifact = Artifact.read(file)
    backend = open_backend(artifact)
    try:
        facts: dict[str, Any] = {
            "file": str(file),
            "bytes": len(artifact.model),
            "sha256": hashlib.sha256(artifact.model).hexdigest(),
            "inputs": [_tensor(spec) for spec in backend.inputs],
            "outputs": [_tensor(spec) for spec in backend.outputs],
            "manifest": artifact.manifest.to_dict(),
        }
    finally:
        backend.close()
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def _tensor(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """Nested facts as indented ``name  value`` lines."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif name in ("inputs", "outputs"):
            lines.append(f"{indent}{name}")
            for tensor in value:
                axes = " x ".join("free" if n is None else str(n) for n in tensor["shape"])
                lines.append(f"{indent}  {tensor['name']:<22} {tensor['dtype']:<8} {axes}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            text = "-" if shown is None else str(shown)
            # A hostile manifest must not steer the terminal.
            text = "".join(letter if letter.isprintable() else "?" for letter in text)
            lines.append(f"{indent}{name:<{24 - len(indent)}} {text}")
    return lines
