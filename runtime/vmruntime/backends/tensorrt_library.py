"""TensorRT, its lean runtime and TensorRT-RTX as one library; the differences are in this file."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from vmruntime.cuda.plugin import load_plugin
from vmruntime.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact
    from vmruntime.cuda.probe import DeviceFacts

__all__ = ["EngineLibrary", "mismatch"]

TITLES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}
"""What people call a target."""

MODULES = {"tensorrt": ("tensorrt", "tensorrt_lean"), "rtx": ("tensorrt_rtx",)}
"""What runs a target's plans, the best first. The lean runtime takes version-compatible plans."""

EXTRAS = {"tensorrt": "gpu", "rtx": "rtx"}

HOST_CODE = "VM_PLAN_HOST_CODE"
"""Set to 1 to let a plan run the code for the CPU that it carries, as some version-compatible ones
do: to load such a file is to run a program."""


class EngineLibrary:
    """The library that runs an artifact's plan.

    Parameters
    ----------
    artifact
        The plan.

    Raises
    ------
    BackendUnavailableError
        It is not installed.
    """

    def __init__(self, artifact: Artifact) -> None:
        engine = artifact.manifest.engine
        target = engine["target"]
        self.title = TITLES[target]
        self._path = artifact.path
        self._plugin = engine.get("warp") == "plugin"
        compatible = bool(engine.get("version_compatible"))
        names = [n for n in MODULES[target] if compatible or not n.endswith("_lean")]
        here = [name for name in names if importlib.util.find_spec(name)]
        if not here:
            raise BackendUnavailableError(
                f"{self.title} is not installed, which {artifact.path} was built for; pip install "
                f"'voxelmorph-deploy[{EXTRAS[target]}]'"
            )
        try:
            self._module: Any = importlib.import_module(here[0])
        except (ImportError, OSError, RuntimeError) as error:
            raise BackendUnavailableError(
                f"{here[0]} does not load: {' '.join(str(error).split())[:200]}; install it again"
            ) from error
        self.module = here[0]
        self.version: str = self._module.__version__
        self.said: list[str] = []
        self._logger = _listener(self._module, self.said)
        self._runtime: Any = None

    def load(self, plan: bytes) -> Any:
        """The engine in a plan (``ICudaEngine``).

        Raises
        ------
        BackendUnavailableError
            The plan needs our plugin, and that does not load.
        BackendError
            The library does not take it; the message repeats what it said.
        """
        if self._plugin:
            load_plugin(self._module)
        self._runtime = self._module.Runtime(self._logger)
        if os.environ.get(HOST_CODE) == "1" and self.title == TITLES["tensorrt"]:
            self._runtime.engine_host_code_allowed = True
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            said = self.reason()
            hint = (
                f"set {HOST_CODE}=1 if you trust the file"
                if "host code" in said.lower()
                else f"build it again here with vm-export --engine (this is {self.title} "
                f"{self.version})"
            )
            raise BackendError(f"{self.title} does not load {self._path}: {said}; {hint}")
        return engine

    def is_input(self, engine: Any, name: str) -> bool:
        """Whether a tensor of an engine is one of its inputs."""
        return bool(engine.get_tensor_mode(name) == self._module.TensorIOMode.INPUT)

    def is_float32(self, engine: Any, name: str) -> bool:
        """Whether a tensor of an engine is float32."""
        return bool(engine.get_tensor_dtype(name) == self._module.DataType.FLOAT)

    def context(self, engine: Any, *, cuda_graph: bool) -> Any:
        """An execution context with its own activation memory, or None where that is short."""
        if cuda_graph and hasattr(self._module, "CudaGraphStrategy"):
            settings = engine.create_runtime_config()
            settings.cuda_graph_strategy = self._module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            return engine.create_execution_context(settings)
        return engine.create_execution_context()

    def activation_bytes(self, engine: Any) -> int:
        """Device memory that a context of an engine takes."""
        for name in ("device_memory_size_v2", "device_memory_size"):
            if hasattr(engine, name):
                return int(getattr(engine, name))
        return 0

    def reason(self) -> str:
        """What the library last said went wrong, in one line; and forget it."""
        said = " ".join(self.said[-1].split())[:300] if self.said else "it does not say why"
        self.said.clear()
        return said


def mismatch(artifact: Artifact, version: str, facts: DeviceFacts) -> str:
    """What makes a plan useless here: what it was built for and what is here; empty if nothing.

    Parameters
    ----------
    artifact
        The plan.
    version
        Of the library that is installed.
    facts
        The GPU.
    """
    engine = artifact.manifest.engine
    target = str(engine["target"])
    built = [f"{n // 10}.{n % 10}" for n in engine.get("compute_capability", [])]
    here = ".".join(map(str, facts.compute_capability))
    wrong_gpu = bool(built) and here not in built
    if wrong_gpu and engine.get("hardware_compatible"):
        # Such a plan also runs on later GPUs (from Ampere, 8.0, on); TensorRT has the last word.
        wrong_gpu = facts.compute_capability < min(_numbers(c) for c in built)
    if _takes(engine, version) and not wrong_gpu:
        return ""
    title = TITLES[target]
    gpus = f" for compute capability {', '.join(built)}" if built else ""
    again = f"vm-export model.onnx --engine {artifact.path.name} --target {target}"
    if not _takes(engine, version):
        remedy = f"build it again here with {again}, or install {title} {engine['version']}"
    else:
        remedy = f"build it again with {again} --compute-capability {here.replace('.', '')}"
    return (
        f"{artifact.path} was built with {title} {engine['version']}{gpus}, and here are {title} "
        f"{version} and {facts.name} ({here}); {remedy}"
    )


def _takes(engine: Any, version: str) -> bool:
    """Whether a library's version runs what another one built (NVIDIA: "Engine Compatibility").

    Versions must be the same. A version-compatible plan of TensorRT also runs on later versions of
    the same major one, and one of TensorRT 10 on 11.
    """
    built, here = _numbers(engine["version"]), _numbers(version)
    if engine["target"] == "rtx" or not engine.get("version_compatible"):
        return built == here
    return here >= built and (here[0] == built[0] or (built[0], here[0]) == (10, 11))


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: its fourth is the build's."""
    numbers = []
    for part in str(version).split("."):
        digits = part.partition("+")[0]
        if not (digits.isascii() and digits.isdigit()):
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _listener(module: Any, said: list[str]) -> Any:
    """A logger of the library that keeps its errors instead of printing them."""

    class Listener(module.ILogger):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                said.append(text)

    return Listener()
