"""``vm-export --triton``: the options, and what is written for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from vmexport.cli.groups import GroupedOption

__all__ = ["Served", "is_plan_source", "serve_plan", "serving", "triton_options"]

F = TypeVar("F", bound=Callable[..., Any])


triton = partial(click.option, cls=GroupedOption, group="Serving (see docs/serving.md)")


def triton_options(command: F) -> F:
    """The options of this group, for a command."""
    options = [
        triton(
            "--triton",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="Put the model into this Triton model repository: the engine with --engine, "
            "else the ONNX.",
        ),
        triton(
            "--triton-name",
            metavar="NAME",
            default="voxelmorph",
            show_default=True,
            help="What the server calls it.",
        ),
        triton(
            "--triton-device",
            type=click.Choice(["gpu", "cpu"]),
            default="gpu",
            show_default=True,
            help="What it runs on there.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class Served:
    """What a run of the command makes for Triton, if it was asked to.

    Parameters
    ----------
    output
        Where the ONNX model is to be written, where it is all that is made.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.lines: list[str] = []


@contextmanager
def serving(given: dict[str, Any]) -> Iterator[Served]:
    """Around the making of a model: on leaving, it is in the repository as well.

    Whatever is in the way comes up first, before minutes of work.

    Raises
    ------
    OutputError
        See `vmexport.triton.ModelRepository`.
    ExportError
        Triton does not run what is asked for.
    """
    if given["triton"] is None:
        yield Served(given["output"])
        return
    from vmexport.triton import ModelRepository

    if given["engine"] is not None:
        _check_target(given["target"])
    with ModelRepository(given["triton"], given["triton_name"], force=given["force"]) as repository:
        served = Served(given["output"] or repository.file("model.onnx"))
        yield served
        served.lines = _fill(repository, given["engine"] or served.output, given)


def serve_plan(source: Path, given: dict[str, Any]) -> list[str]:
    """Put a plan that there is already into the repository; what to print."""
    from vmexport.triton import ModelRepository

    with ModelRepository(given["triton"], given["triton_name"], force=given["force"]) as repository:
        return _fill(repository, source, given)


def is_plan_source(source: Path) -> bool:
    """Whether a source is a plan, by how plans begin."""
    from vmruntime.plan_file import MAGIC, is_plan

    try:
        with open(source, "rb") as file:
            return is_plan(file.read(max(map(len, MAGIC))))
    except OSError:
        return False  # whatever reads it says what is wrong


def _check_target(target: str | None) -> None:
    from vmexport.engine.toolkit import find_toolkit
    from vmexport.errors import EngineBuildError

    if find_toolkit(target).target == "rtx":
        raise EngineBuildError(
            "Triton runs no plans of TensorRT-RTX, its backend is for those of TensorRT: give "
            "--target tensorrt (on the GPU that will run it), or leave --engine out and serve the "
            "ONNX model"
        )


def _fill(repository: Any, made: Path, given: dict[str, Any]) -> list[str]:
    """Write the model and its configuration; what to print of them."""
    from vmexport.triton import model_config
    from vmruntime.artifact import Artifact

    artifact = Artifact.read(made)
    config = model_config(artifact, repository.name, given["triton_device"])
    file = repository.file(config.file)
    if file != made:
        file.write_bytes(artifact.model)
    repository.write_config(config.text)
    grid = " x ".join(map(str, config.warm_up))
    lines = [
        f"triton     {repository.path}  {config.platform}, on the {config.hardware.upper()}",
        f"           warmed up on {grid}",
    ]
    engine = artifact.manifest.engine
    if engine:
        lines.append(f"           needs a server with TensorRT {engine['version']}")
    return lines
