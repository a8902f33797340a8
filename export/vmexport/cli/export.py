"""``vm-export``: trained checkpoint to artifact, and artifact to engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmexport.cli.capabilities import ComputeCapabilities
from vmexport.cli.groups import GroupedCommand, GroupedOption
from vmexport.cli.summary import artifact_lines, engine_lines
from vmexport.cli.triton import is_plan_source, serve_plan, serving, triton_options
from vmexport.cli.usage import check_usage
from vmruntime.cli.command import progress
from vmruntime.cli.options import IntensityRuleText, Numbers
from vmruntime.errors import MissingDependencyError
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmexport.engine.compile import Compiled
    from vmexport.precision import PrecisionPlan
    from vmexport.verification import VerifyOn

__all__ = ["main"]

FILE = click.Path(path_type=Path)
SHAPE = Numbers(int, 3)

model = partial(click.option, cls=GroupedOption, group="Model")
checking = partial(click.option, cls=GroupedOption, group="Verification")
engine = partial(click.option, cls=GroupedOption, group="Engine (with --engine)")


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="CHECKPOINT|MODEL.onnx", type=FILE)
@model("-o", "--output", type=FILE, help="The artifact to write (.onnx).")
@model(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    help="fp16: U-Net in float16; tail, inputs and outputs in float32.  "
    "[default: fp32, of a MODEL.onnx its own]",
)
@model(
    "--precision-plan",
    type=FILE,
    metavar="plan.json",
    help="Instead of --precision: the number format of each layer, as vm-calibrate plans it.",
)
@model(
    "--shape",
    type=SHAPE,
    metavar="D,H,W",
    help="Voxels of the model grid.  [default: the one it was trained on]",
)
@model("--dynamic", is_flag=True, help="Any D, H, W in multiples of the network's stride.")
@model(
    "--orientation",
    metavar="CODE",
    default="LIA",
    show_default=True,
    help="World direction that each axis of the model grid runs toward.",
)
@model(
    "--voxel-size",
    metavar="D,H,W",
    type=Numbers(float, 3),
    default="1,1,1",
    show_default=True,
    help="Millimetres along each axis of the model grid.",
)
@model(
    "--intensity",
    type=IntensityRuleText(),
    default="divide:255",
    show_default=True,
    metavar="RULE",
    help="How the training scans were scaled: divide:255, minmax, percentile:1,99 or none.",
)
@checking("--verify-moving", type=FILE, help="Scan to verify on.  [default: a phantom]")
@checking("--verify-fixed", type=FILE, help="Scan to verify on.")
@checking("--verify-moving-seg", type=FILE, help="Its labels, to compare Dice.")
@checking("--verify-fixed-seg", type=FILE, help="Its labels, to compare Dice.")
@checking(
    "--max-error",
    type=click.FloatRange(min=0),
    metavar="VOXELS",
    help="Largest displacement error to accept.  [default: 0.001, fp16: 0.1]",
)
@checking(
    "--p99-error",
    type=click.FloatRange(min=0),
    metavar="VOXELS",
    help="The same for 99 % of the voxels.  [default: none, fp16: 0.02]",
)
@engine("--engine", type=FILE, help="Compile the model into this engine (.plan).")
@engine(
    "--target",
    type=click.Choice(["tensorrt", "rtx"]),
    help="TensorRT (builds on the GPU that runs it) or TensorRT-RTX (builds anywhere).  "
    "[default: the one installed]",
)
@engine(
    "--compute-capability",
    type=ComputeCapabilities(),
    metavar="LIST|current",
    help="GPUs to build for, such as 86,89,120 (rtx).  [default: 80,86,89,120; "
    "tensorrt: this machine's]",
)
@engine("--min-shape", type=SHAPE, metavar="D,H,W", help="Smallest grid of a --dynamic model.")
@engine("--opt-shape", type=SHAPE, metavar="D,H,W", help="The grid to be fastest on.")
@engine("--max-shape", type=SHAPE, metavar="D,H,W", help="Largest grid.  [both: --opt-shape]")
@engine(
    "--warp",
    type=click.Choice(["native", "gather", "plugin"]),
    help="Sampling by the engine's own layer, gathers, or our plugin.  "
    "[default: native where the engine has it, else gather]",
)
@engine(
    "--workspace",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="Device memory a layer may use beside its tensors.  [default: all]",
)
@engine("--timing-cache", type=FILE, help="Keep what the builder measures (tensorrt).")
@engine("--version-compatible", is_flag=True, help="Runs with newer versions too (tensorrt).")
@engine("--hardware-compatible", is_flag=True, help="Runs on Ampere and newer (tensorrt).")
@triton_options
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, /, source: Path, **given: Any) -> None:
    """Export a trained VoxelMorph checkpoint to an ONNX artifact for vm-infer, and compile it.

    CHECKPOINT is a file of voxelmorph's VxmDense.save (PyTorch) or a Keras .h5 of the official
    models; which one is detected. The artifact is compared with the checkpoint before it is
    written; the engine too, where a GPU is present. (No plan has run on a GPU of ours yet, and
    TensorRT itself has not built one: unverified.)

    \b
    vm-export model.pt -o model.onnx
    vm-export model.pt --engine model.plan --precision fp16
    vm-export model.onnx --engine model.plan --target rtx
    vm-export model.onnx --triton models/
    """  # noqa: D301  (click reads the escape)
    announce = progress(given["verbose"])
    with _extra():
        from vmexport.engine.source import is_artifact

        plan, exported = is_plan_source(source), is_artifact(source)
        check_usage(ctx, given, exported=exported, plan=plan)
        if plan:
            lines = serve_plan(source, given)
        else:
            with serving(given) as served:
                if given["engine"] is not None:
                    lines = _compile(source, exported, given, announce)
                elif exported:
                    lines = _convert(source, served.output, given, announce)
                else:
                    lines = _export(source, served.output, given, announce)
            lines += served.lines
    click.echo("\n".join(lines))


def _scans(given: dict[str, Any]) -> VerifyOn:
    from vmexport.verification import VerifyOn

    return VerifyOn(
        given["verify_moving"],
        given["verify_fixed"],
        given["verify_moving_seg"],
        given["verify_fixed_seg"],
    )


def _plan(given: dict[str, Any]) -> PrecisionPlan | None:
    if given["precision_plan"] is None:
        return None
    from vmexport.precision import PrecisionPlan

    return PrecisionPlan.read(given["precision_plan"])


def _export_options(given: dict[str, Any], announce: Any) -> Any:
    announce("loading PyTorch")
    from vmexport.artifact import ExportOptions

    return ExportOptions(
        shape=given["shape"],
        dynamic=given["dynamic"],
        precision=given["precision"] or "fp32",
        orientation=given["orientation"].upper(),
        voxel_size=given["voxel_size"],
        intensity=given["intensity"],
        max_error=given["max_error"],
        p99_error=given["p99_error"],
    )


def _export(source: Path, output: Path, given: dict[str, Any], announce: Any) -> list[str]:
    options = _export_options(given, announce)
    from vmexport.artifact import export_artifact

    manifest = export_artifact(
        source,
        output,
        options,
        verify_moving=given["verify_moving"],
        verify_fixed=given["verify_fixed"],
        verify_moving_labels=given["verify_moving_seg"],
        verify_fixed_labels=given["verify_fixed_seg"],
        force=given["force"],
        progress=announce,
        plan=_plan(given),
    )
    return artifact_lines(given["output"], manifest)


def _convert(source: Path, output: Path, given: dict[str, Any], announce: Any) -> list[str]:
    from vmexport.engine.compile import convert_artifact
    from vmruntime.artifact import Artifact
    from vmruntime.io.outputs import Outputs

    scans = _scans(given)
    with Outputs(force=given["force"]) as outputs:
        temporary = outputs.file(output, (".onnx",))
        converted = convert_artifact(
            Artifact.read(source),
            temporary,
            given["precision"],
            (given["max_error"], given["p99_error"]),
            None,
            scans,
            announce,
            _plan(given),
        )
    return artifact_lines(given["output"], converted.manifest)


def _compile(source: Path, exported: bool, given: dict[str, Any], announce: Any) -> list[str]:
    from vmexport.engine.compile import compile_engine
    from vmexport.engine.options import EngineOptions

    options = EngineOptions(
        target=given["target"],
        compute_capabilities=given["compute_capability"] or (),
        min_shape=given["min_shape"],
        opt_shape=given["opt_shape"],
        max_shape=given["max_shape"],
        workspace=given["workspace"],
        timing_cache=given["timing_cache"],
        version_compatible=given["version_compatible"],
        hardware_compatible=given["hardware_compatible"],
        warp=given["warp"],
    )
    made = compile_engine(
        source,
        given["engine"],
        options,
        export=None if exported else _export_options(given, announce),
        precision=given["precision"],
        limits=(given["max_error"], given["p99_error"]),
        artifact_output=given["output"],
        scans=_scans(given),
        force=given["force"],
        progress=announce,
        plan=_plan(given),
    )
    report = made.report.lines()
    lines = artifact_lines(given["output"], made.manifest)
    onnx = given["output"] or (source if exported and _is_built_from(made, source) else None)
    return [*lines, *engine_lines(given["engine"], made.manifest, report, made.unverified, onnx)]


def _is_built_from(made: Compiled, source: Path) -> bool:
    """Whether the source is what the engine was built from, and not only converted into it."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    return bool(found == made.manifest.engine["onnx_sha256"])


@contextmanager
def _extra() -> Iterator[None]:
    """Name the extra where one of the packages that exporting needs is not there."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"vm-export needs {error.name}; pip install 'voxelmorph-deploy[export]'"
        ) from error
