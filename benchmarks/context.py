"""What the parts of the benchmark share: options, a folder to work in, the exported models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import pair
from int8_model import calibrate

from vmexport.artifact import ExportOptions, export_artifact

__all__ = ["Context"]

SMALLEST = (80, 96, 112)
"""Any multiple of the stride does; the export verifies on it."""


@dataclass
class Context:
    """One run of the benchmark.

    Parameters
    ----------
    folder
        For models and intermediate files.
    rounds
        How often everything is measured.
    threads
        Threads of each engine.
    int8
        An INT8 model of vm-calibrate; None to have one made.
    ants_limit
        Seconds after which ANTs is ended.
    ants_settings
        ``type_of_transform`` of ANTs' registrations.
    """

    folder: Path
    rounds: int
    threads: int
    int8: Path | None = None
    ants_limit: float = 600.0
    ants_settings: tuple[str, ...] = ("SyNOnly", "SyN")

    def model(self) -> Path:
        """The official model as vm-export writes it."""
        return self._exported("model.onnx", ExportOptions(shape=pair.SHAPE))

    def model_of_any_grid(self) -> Path:
        """The same for scans of any size."""
        return self._exported("any.onnx", ExportOptions(shape=SMALLEST, dynamic=True))

    def int8_model(self) -> Path:
        """The official model in INT8.

        Raises
        ------
        NoInt8Error
            There is none, and none can be made.
        """
        if self.int8 is not None:
            return self.int8
        self.say("engines: an INT8 model, where vm-calibrate is installed")
        return calibrate(self.model(), self.folder / "int8", self.threads)

    def say(self, text: str) -> None:
        """Progress."""
        click.echo(text, err=True)

    def _exported(self, name: str, options: ExportOptions) -> Path:
        path = self.folder / name
        if not path.exists():
            self.say(f"exporting {name}")
            export_artifact(pair.CHECKPOINT, path, options)
        return path
