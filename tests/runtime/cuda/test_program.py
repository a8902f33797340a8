"""Compiling the kernels by NVRTC, which needs no GPU, and keeping what it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmruntime.cuda import program
from vmruntime.cuda.cache import cache_folder, read_cached, write_cached
from vmruntime.cuda.program import load_program
from vmruntime.cuda.sources import kernel_sources
from vmruntime.errors import BackendError, BackendUnavailableError

DRIVER = (99, 0)

SOURCES = {
    "a.cu": '#include "b.cuh"\nextern "C" __global__ void f(float* x) { *x = TWO; }\n',
    "b.cuh": "#define TWO 2.0f\n",
}

CUBIN = b"\x7fELF"


@pytest.fixture(autouse=True)
def _nvrtc() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="the gpu extra is not installed")


def test_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_program((9, 0), DRIVER, sources=SOURCES, folder=tmp_path)
    assert first.startswith(CUBIN)

    def refuse(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(program, "compile_program", refuse)
    assert load_program((9, 0), DRIVER, sources=SOURCES, folder=tmp_path) == first
    other = SOURCES | {"b.cuh": "#define TWO 3.0f\n"}
    for capability, sources in (((9, 0), other), ((8, 6), SOURCES)):
        with pytest.raises(AssertionError, match="compiled again"):
            load_program(capability, DRIVER, sources=sources, folder=tmp_path)
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["sm_90-"]


def test_a_damaged_cache_is_survived(tmp_path: Path) -> None:
    first = load_program((8, 9), DRIVER, sources=SOURCES, folder=tmp_path)
    (kept,) = tmp_path.iterdir()
    for damage in (b"", b"short", kept.read_bytes()[:-1] + b"?"):
        kept.write_bytes(damage)
        assert load_program((8, 9), DRIVER, sources=SOURCES, folder=tmp_path) == first
        assert read_cached(tmp_path, kept.name) == first


def test_a_folder_that_cannot_be_written_is_survived(tmp_path: Path) -> None:
    """A file stands in its way: the superuser may write anywhere else."""
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "file" / "kernels"
    assert not write_cached(folder, "x", b"y")
    assert read_cached(folder, "x") is None
    assert load_program((9, 0), DRIVER, sources=SOURCES, folder=folder).startswith(CUBIN)


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "voxelmorph-deploy" / "kernels"


def test_a_gpu_newer_than_nvrtc_gets_ptx(tmp_path: Path) -> None:
    image = load_program((98, 0), DRIVER, sources=SOURCES, folder=tmp_path)
    assert b".version" in image


@pytest.mark.parametrize(
    ("capability", "driver", "message"),
    [
        ((5, 2), DRIVER, "compiles for compute capabilities from"),
        ((9, 0), (1, 2), "update the driver"),
    ],
)
def test_what_nvrtc_cannot_do(
    tmp_path: Path, capability: tuple[int, int], driver: tuple[int, int], message: str
) -> None:
    with pytest.raises(BackendUnavailableError, match=message):
        load_program(capability, driver, sources=SOURCES, folder=tmp_path)


def test_a_source_that_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"do not compile for sm_90: .*identifier") as error:
        load_program((9, 0), DRIVER, sources={"a.cu": "nonsense x;"}, folder=tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_our_own_sources_are_found() -> None:
    found = kernel_sources()
    assert "vm_kernels.cu" in found
    assert "carry.cuh" in found
