"""TensorRT and TensorRT-RTX: which there is, and every difference between the two.

The rest of this package calls one API; what only one of them has, or each has from another version
on, is decided here. TensorRT (the ``tensorrt`` module) has not been run by us yet: what stands here
about it follows NVIDIA's documentation of 10.9 to 11.4 and is unverified. TensorRT-RTX 1.7 has.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmexport.engine.options import EngineOptions
from vmexport.engine.warp_forms import WarpForm
from vmexport.errors import EngineBuildError
from vmruntime.errors import MissingDependencyError, one_line

__all__ = ["Toolkit", "find_toolkit"]

MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}
EXTRAS = {"tensorrt": "gpu", "rtx": "rtx"}

OLDEST = {"tensorrt": (10, 9), "rtx": (1, 3)}
NATIVE_WARP_FROM = {"tensorrt": (11, 2, 1), "rtx": (1, 6)}
"""First version whose GridSample takes volumes."""

RTX_USUAL_GPUS = (80, 86, 89, 120)
"""What a TensorRT-RTX plan runs on where no compute capability was named (NVIDIA's documentation,
"Compute Capability")."""


@dataclass(frozen=True)
class Toolkit:
    """One of the two, installed.

    Parameters
    ----------
    target
        ``"tensorrt"`` or ``"rtx"``.
    trt
        Its module.
    version
        Its version, such as ``"1.7.1.116"``.
    """

    target: str
    trt: Any
    version: str

    @property
    def name(self) -> str:
        """Name and version, for people."""
        return f"{NAMES[self.target]} {self.version}"

    def at_least(self, *wanted: int) -> bool:
        """Whether its version is this one or newer."""
        return _numbers(self.version)[: len(wanted)] >= wanted

    def warp(self, options: EngineOptions) -> WarpForm:
        """Form of the warp: as asked for, else the best that this version has."""
        native = self.at_least(*NATIVE_WARP_FROM[self.target])
        if options.warp is None:
            return "native" if native else "gather"
        if options.warp == "native" and not native:
            first = ".".join(map(str, NATIVE_WARP_FROM[self.target]))
            raise EngineBuildError(
                f"{self.name} samples no volumes itself, {NAMES[self.target]} {first} is the first "
                "that does: use --warp gather, or a newer version"
            )
        return options.warp

    def check(self, options: EngineOptions) -> None:
        """Refuse options that this toolkit does not have.

        Raises
        ------
        EngineBuildError
            In one line, with what to do instead.
        """
        self.warp(options)
        if self.target == "rtx":
            refused = {
                "--warp plugin": (options.warp == "plugin", "it has no plugins: use --warp native"),
                "--timing-cache": (
                    options.timing_cache is not None,
                    "it times nothing while it builds: leave the option out",
                ),
                "--version-compatible": (
                    options.version_compatible,
                    "its plans run with the version that built them: leave the option out",
                ),
                "--hardware-compatible": (
                    options.hardware_compatible,
                    "name the GPUs with --compute-capability",
                ),
            }
            for option, (asked, remedy) in refused.items():
                if asked:
                    raise EngineBuildError(f"{self.name} does not do {option}: {remedy}")
            self._capabilities(options)
        elif options.compute_capabilities not in ((), "current"):
            raise EngineBuildError(
                f"{self.name} builds for the GPU of this machine: leave --compute-capability out, "
                "widen it with --hardware-compatible, or use --target rtx"
            )

    def create_network(self, builder: Any) -> Any:
        """An empty network in which the types of the ONNX are kept (strongly typed)."""
        if self.target == "tensorrt" and not self.at_least(11):
            flag = self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
            return builder.create_network(1 << int(flag))
        return builder.create_network(0)  # TensorRT 11 and TensorRT-RTX know no other

    def configure(self, config: Any, options: EngineOptions) -> None:
        """Set what only one of the two has; `check` came first."""
        if self.target == "rtx":
            chosen = self._capabilities(options)
            if chosen:
                config.num_compute_capabilities = len(chosen)
            for index, capability in enumerate(chosen):
                config.set_compute_capability(capability, index)
            return
        if options.version_compatible:
            config.set_flag(self.trt.BuilderFlag.VERSION_COMPATIBLE)
            # The lean runtime inside a plan is code for the CPU: to load the file were to run it.
            config.set_flag(self.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        if options.hardware_compatible:
            level = self.trt.HardwareCompatibilityLevel.AMPERE_PLUS
            config.hardware_compatibility_level = level

    def gpus(self, options: EngineOptions, here: tuple[int, int] | None) -> tuple[int, ...]:
        """Compute capabilities that a plan is for, such as ``(86, 89)``; empty where not known.

        Parameters
        ----------
        options
            What it was built with.
        here
            Compute capability of this machine's GPU; None where there is none.
        """
        named = options.compute_capabilities
        if isinstance(named, tuple) and (named or self.target == "rtx"):
            return tuple(dict.fromkeys(named)) or RTX_USUAL_GPUS
        return () if here is None else (10 * here[0] + here[1],)

    def _capabilities(self, options: EngineOptions) -> list[Any]:
        known = self.trt.ComputeCapability.__members__
        if options.compute_capabilities == "current":
            return [known["CURRENT"]]
        missing = [n for n in options.compute_capabilities if f"SM{n}" not in known]
        if missing:
            has = sorted(int(name[2:]) for name in known if name.startswith("SM"))
            raise EngineBuildError(
                f"{self.name} does not build for compute capability {missing[0]}; it does for "
                f"{', '.join(map(str, has))}" + self._elsewhere(missing[0])
            )
        return [known[f"SM{n}"] for n in dict.fromkeys(options.compute_capabilities)]

    @staticmethod
    def _elsewhere(capability: int) -> str:
        return "; TensorRT on that machine does (--target tensorrt)" if capability >= 75 else ""


def find_toolkit(target: str | None, announce: Callable[[str], None] = lambda _: None) -> Toolkit:
    """Import the toolkit that was asked for, or else the one that is installed.

    Parameters
    ----------
    target
        ``"tensorrt"``, ``"rtx"``, or None for either, TensorRT first.
    announce
        Called with what was chosen.

    Raises
    ------
    MissingDependencyError
        It is not installed; the message names the extra.
    EngineBuildError
        It does not load, or is too old.
    """
    for name in [target] if target else list(MODULES):
        try:
            module = importlib.import_module(MODULES[name])
        except ModuleNotFoundError as error:
            if error.name != MODULES[name]:
                raise EngineBuildError(f"{NAMES[name]} does not load: {one_line(error)}") from error
            continue
        # A library that is missing or too old for the machine: OSError, or what the stub raises.
        except Exception as error:
            raise EngineBuildError(f"{NAMES[name]} does not load: {one_line(error)}") from error
        toolkit = Toolkit(name, module, str(module.__version__))
        if not toolkit.at_least(*OLDEST[name]):
            raise EngineBuildError(
                f"{toolkit.name} is too old: {'.'.join(map(str, OLDEST[name]))} or newer is needed"
            )
        announce(f"building with {toolkit.name}")
        return toolkit
    if target:
        raise MissingDependencyError(
            f"{NAMES[target]} is not installed; pip install 'voxelmorph-deploy[{EXTRAS[target]}]'"
        )
    raise MissingDependencyError(
        "neither TensorRT nor TensorRT-RTX is installed; pip install 'voxelmorph-deploy[rtx]', "
        "which builds without a GPU too, or 'voxelmorph-deploy[gpu]'"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])
