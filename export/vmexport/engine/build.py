"""From an artifact's ONNX to an engine's plan."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import onnx

from vmexport.engine.builder_log import BuilderLog, collecting
from vmexport.engine.inspection import inspect_network
from vmexport.engine.options import EngineOptions
from vmexport.engine.progress import BuildProgress, interruptible, open_monitor
from vmexport.engine.report import BuildReport
from vmexport.engine.toolkit import Toolkit
from vmexport.engine.warp_forms import with_warp_form
from vmexport.errors import EngineBuildError
from vmruntime.artifact import Artifact
from vmruntime.cuda.probe import probe
from vmruntime.manifest import Manifest

__all__ = ["BuiltEngine", "build_engine"]

MAX_NAME = 4095
"""Bytes; TensorRT takes names of 4096 with the zero behind them."""

REMEDIES = {
    "workspace": "raise --workspace, or leave it out",
    "driver": "a GPU and its driver are needed for this; --target rtx builds without them if no "
    "--compute-capability current is asked for",
    "memory": "close what else uses the GPU, or choose a smaller grid",
}
"""What may be in a builder's error, and what to do then."""

INCONSISTENT = "not self-consistent"
"""What is in its warning of a smallest or largest shape with which the network cannot be run."""


@dataclass(frozen=True, eq=False)
class BuiltEngine:
    """A plan, not yet in a file.

    Parameters
    ----------
    plan
        The engine, serialized.
    manifest
        As it stands in the plan.
    report
        What the build was like.
    timing_cache
        What the builder measured, where a file for it was named.
    """

    plan: bytes
    manifest: Manifest
    report: BuildReport
    timing_cache: bytes | None = None


def build_engine(
    artifact: Artifact,
    toolkit: Toolkit,
    options: EngineOptions,
    announce: Callable[[str], None] = lambda _: None,
    spare: int = 0,
) -> BuiltEngine:
    """Compile an artifact.

    Parameters
    ----------
    artifact
        An ONNX model with its manifest.
    toolkit
        What compiles it.
    options
        What the engine is to be like.
    announce
        Called with a line about what is done now, from another thread.
    spare
        Bytes of blanks to leave behind the manifest, for what a verification will add.

    Raises
    ------
    EngineBuildError
        An option is not to be had, the parser or builder fails, or the parsed network is not the
        one that was meant.
    """
    toolkit.check(options)
    manifest = artifact.manifest
    form = toolkit.warp(options)
    options.require_shapes(free=manifest.shape is None)
    shapes = options.shapes(manifest.stride) if manifest.shape is None else None
    devices = probe().devices
    gpus = toolkit.gpus(options, devices[0].compute_capability if devices else None)
    manifest = replace(
        manifest,
        engine={
            "target": toolkit.target,
            "version": toolkit.version,
            "precision": manifest.precision,
            "warp": form,
            "compute_capability": list(gpus),
            "onnx_sha256": hashlib.sha256(artifact.model).hexdigest(),
            "verified": False,
            **({"shapes": [list(shape) for shape in shapes]} if shapes else {}),
            **({"version_compatible": True} if options.version_compatible else {}),
            **({"hardware_compatible": True} if options.hardware_compatible else {}),
        },
    )
    name = _name(manifest, spare)
    announce(f"preparing the graph ({form} warp)")
    model = with_warp_form(onnx.load_from_string(artifact.model), form)
    if form == "plugin":
        from vmruntime.cuda.plugin import load_plugin

        load_plugin(toolkit.trt)
    with collecting(toolkit.trt) as (logger, log):
        builder = _Builder(toolkit, options, logger, log)
        progress = BuildProgress(announce)
        start = time.perf_counter()
        network = builder.parse(model.SerializeToString(), name)
        op = "Warp3d" if form == "plugin" else "GridSample"
        expected = sum(node.op_type == op for node in model.graph.node)
        layers = inspect_network(toolkit.trt, network, manifest.precision, form, expected)
        announce(f"parsed: {layers}")
        config, cache = builder.configure(network, shapes, progress)
        plan = interruptible(lambda: builder.build(network, config), progress)
        seconds = time.perf_counter() - start
    report = BuildReport(
        toolkit=toolkit.name,
        warp=form,
        gpus=gpus,
        layers=layers,
        activation_bytes=log.activation_bytes,
        seconds=seconds,
        plan_bytes=len(plan),
        peak_host_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=tuple(log.warnings),
    )
    return BuiltEngine(plan, manifest, report, bytes(cache.serialize()) if cache else None)


def _name(manifest: Manifest, spare: int) -> str:
    """The manifest as the network's name, which is the text that a plan keeps."""
    text = manifest.to_json()
    size = len(text.encode())
    if size > MAX_NAME:
        raise EngineBuildError(
            f"the manifest has {size} bytes, a plan takes {MAX_NAME}: export the model again with "
            "shorter names of files"
        )
    return text + " " * min(spare, MAX_NAME - size)


class _Builder:
    """TensorRT's objects of one build, in the order in which it wants them made."""

    def __init__(
        self, toolkit: Toolkit, options: EngineOptions, logger: Any, log: BuilderLog
    ) -> None:
        self._toolkit, self._trt, self._options = toolkit, toolkit.trt, options
        self._logger, self._log = logger, log
        try:
            self._builder = self._trt.Builder(logger)
        # pybind11 says TypeError where the library gave no builder: no GPU, no driver.
        except (TypeError, RuntimeError) as error:
            raise self._failed("does not start") from error

    def parse(self, model: bytes, name: str) -> Any:
        """The network of an ONNX model, with its name."""
        network = self._toolkit.create_network(self._builder)
        parser = self._trt.OnnxParser(network, self._logger)
        if not parser.parse(model):
            raise EngineBuildError(f"{self._toolkit.name} does not take the graph: {_node(parser)}")
        network.name = name
        if network.name != name:
            raise self._failed("does not take the manifest as the network's name")
        return network

    def configure(
        self,
        network: Any,
        shapes: tuple[tuple[int, int, int], ...] | None,
        progress: BuildProgress,
    ) -> tuple[Any, Any]:
        """The build's configuration, and its timing cache or None."""
        config = self._builder.create_builder_config()
        config.progress_monitor = open_monitor(self._trt, progress)
        self._toolkit.configure(config, self._options)
        if self._options.workspace is not None:
            pool = self._trt.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(pool, int(self._options.workspace * (1 << 30)))
        if shapes is not None:
            profile = self._builder.create_optimization_profile()
            for index in range(network.num_inputs):
                tensor = network.get_input(index)
                sizes = [(*tuple(tensor.shape)[:2], *shape) for shape in shapes]
                profile.set_shape(tensor.name, *sizes)
            if config.add_optimization_profile(profile) < 0:
                raise self._failed("does not take the shapes")
        return config, self._timing_cache(config)

    def _timing_cache(self, config: Any) -> Any:
        path = self._options.timing_cache
        if path is None:
            return None
        try:
            stored = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise EngineBuildError(f"{path}: cannot be read ({error.strerror})") from error
        cache = config.create_timing_cache(stored)
        if cache is None or not config.set_timing_cache(cache, False):
            raise EngineBuildError(
                f"{path}: is no timing cache of {self._toolkit.name} on this GPU; name another file"
            )
        return cache

    def build(self, network: Any, config: Any) -> bytes:
        """The plan."""
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise self._failed("cannot build the engine")
        # It only warns of shapes that no engine could take, and builds one.
        impossible = [text for text in self._log.warnings if INCONSISTENT in text]
        if impossible:
            reason = " ".join(impossible[0].split())[:200]
            raise EngineBuildError(
                f"{self._toolkit.name} cannot take all of these shapes: {reason}; choose another "
                "--max-shape or --min-shape"
            )
        return bytes(plan)

    def _failed(self, what: str) -> EngineBuildError:
        reason = self._log.reason()
        remedy = next((text for key, text in REMEDIES.items() if key in reason.lower()), "")
        return EngineBuildError(
            f"{self._toolkit.name} {what}: {reason}" + (f"; {remedy}" if remedy else "")
        )


def _node(parser: Any) -> str:
    """A parser's first error with the node that it is about."""
    if not parser.num_errors:
        return "it gave no reason"
    error = parser.get_error(0)
    where = f"node {error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
    return where + " ".join(str(error.desc()).split())[:300]
