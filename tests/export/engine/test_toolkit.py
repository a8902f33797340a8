"""Which toolkit is taken, and what each does not do."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from vmexport.engine.options import EngineOptions
from vmexport.engine.toolkit import Toolkit, find_toolkit
from vmexport.errors import EngineBuildError
from vmruntime.errors import MissingDependencyError


def tensorrt(version: str) -> Toolkit:
    """TensorRT of a version, as far as decisions by version go; the module is never asked."""
    return Toolkit("tensorrt", None, version)


def test_the_installed_one_is_found_and_said(rtx: Toolkit) -> None:
    said: list[str] = []
    assert find_toolkit("rtx", said.append).version == rtx.trt.__version__
    assert said == [f"building with TensorRT-RTX {rtx.trt.__version__}"]


def test_what_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingDependencyError, match=r"voxelmorph-deploy\[gpu\]"):
        find_toolkit("tensorrt")
    with pytest.raises(MissingDependencyError, match=r"neither .*voxelmorph-deploy\[rtx\]"):
        find_toolkit(None)


def test_an_old_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tensorrt")
    module.__version__ = "10.8.0.43"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(EngineBuildError, match=r"TensorRT 10.8.0.43 is too old: 10.9 or newer"):
        find_toolkit(None)


@pytest.mark.parametrize(
    ("toolkit", "form"),
    [
        (tensorrt("10.9.0.34"), "gather"),
        (tensorrt("11.2.0"), "gather"),
        (tensorrt("11.2.1.7"), "native"),
        (tensorrt("11.10.0"), "native"),
        (Toolkit("rtx", None, "1.5.0.1"), "gather"),
        (Toolkit("rtx", None, "1.6.0.22"), "native"),
    ],
)
def test_the_warp_follows_the_version_unless_told(toolkit: Toolkit, form: str) -> None:
    assert toolkit.warp(EngineOptions()) == form
    assert toolkit.warp(EngineOptions(warp="gather")) == "gather"
    if form == "gather":
        with pytest.raises(EngineBuildError, match=r"samples no volumes itself.*--warp gather"):
            toolkit.warp(EngineOptions(warp="native"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(warp="plugin"), "does not do --warp plugin: .*--warp native"),
        (EngineOptions(timing_cache=Path("c")), "does not do --timing-cache"),
        (EngineOptions(version_compatible=True), "does not do --version-compatible"),
        (EngineOptions(hardware_compatible=True), "--hardware-compatible: .*--compute-capability"),
        (EngineOptions(compute_capabilities=(86, 90)), "capability 90; it does for 75, 80, 86"),
    ],
)
def test_rtx_refuses_what_it_does_not_do(
    rtx: Toolkit, options: EngineOptions, message: str
) -> None:
    with pytest.raises(EngineBuildError, match=message) as caught:
        rtx.check(options)
    assert "\n" not in str(caught.value)


def test_tensorrt_builds_for_the_gpu_that_is_there() -> None:
    toolkit = tensorrt("11.3.0")
    toolkit.check(EngineOptions(compute_capabilities="current", version_compatible=True))
    with pytest.raises(EngineBuildError, match="builds for the GPU of this machine"):
        toolkit.check(EngineOptions(compute_capabilities=(86,)))
    assert toolkit.gpus(EngineOptions(), (9, 0)) == (90,)
    assert toolkit.gpus(EngineOptions(), None) == ()


def test_what_a_plan_of_rtx_is_for(rtx: Toolkit) -> None:
    assert rtx.gpus(EngineOptions(), None) == (80, 86, 89, 120)
    assert rtx.gpus(EngineOptions(compute_capabilities=(75,)), (8, 6)) == (75,)
    assert rtx.gpus(EngineOptions(compute_capabilities="current"), (8, 6)) == (86,)


def test_capabilities_are_set_in_the_configuration(rtx: Toolkit) -> None:
    builder = rtx.trt.Builder(rtx.trt.Logger(rtx.trt.Logger.ERROR))
    config = builder.create_builder_config()
    rtx.configure(config, EngineOptions(compute_capabilities=(89, 120, 89)))
    found = [config.get_compute_capability(i).name for i in range(config.num_compute_capabilities)]
    assert found == ["SM89", "SM120"]
