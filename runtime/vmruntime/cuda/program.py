"""The kernels compiled for one GPU, by NVRTC, once a machine.

Compiling needs no GPU and is tested without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmruntime.cuda.cache import cache_folder, read_cached, write_cached
from vmruntime.cuda.sources import kernel_sources
from vmruntime.errors import BackendError, BackendUnavailableError, one_line

__all__ = ["compile_program", "load_program"]

OPTIONS = ("--std=c++17", "--fmad=false")
"""Products and sums are rounded one by one, as on the processor; see ``vm_kernels.cu``."""

INSTALL = "pip install 'voxelmorph-deploy[cuda]'"


def load_program(
    compute_capability: tuple[int, int],
    driver: tuple[int, int],
    *,
    sources: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """The kernels' binary for a GPU, from the cache, or compiled and kept there.

    Parameters
    ----------
    compute_capability
        Of the GPU.
    driver
        CUDA version that the driver supports.
    sources
        File name to text; None for what is installed. Each ``.cu`` is included in the program.
    folder
        The cache; None for the user's.

    Returns
    -------
    bytes
        A cubin, or PTX for a GPU that is newer than NVRTC.

    Raises
    ------
    BackendUnavailableError
        NVRTC is not installed, is newer than the driver, or does not know so old a GPU.
    BackendError
        The source does not compile.
    """
    nvrtc = _nvrtc()
    version = _call(nvrtc, nvrtc.nvrtcVersion)
    if version[0] > driver[0]:
        raise BackendUnavailableError(
            f"NVRTC {version[0]}.{version[1]} compiles for drivers of CUDA {version[0]}, this "
            f"machine's supports {driver[0]}.{driver[1]}; update the driver, or "
            f"pip install 'cuda-bindings<{driver[0] + 1}' 'nvidia-cuda-nvrtc<{driver[0] + 1}'"
        )
    sources = kernel_sources() if sources is None else sources
    architecture = _architecture(nvrtc, compute_capability)
    folder = cache_folder() if folder is None else folder
    facts = json.dumps([list(version), architecture, OPTIONS, sorted(sources.items())])
    name = f"{architecture}-{hashlib.sha256(facts.encode()).hexdigest()[:32]}.bin"
    kept = read_cached(folder, name)
    if kept is None:
        kept = compile_program(sources, architecture)
        write_cached(folder, name, kept)
    return kept


def compile_program(sources: Mapping[str, str], architecture: str) -> bytes:
    """Compile all ``.cu`` files as one program.

    Parameters
    ----------
    sources
        File name to text; other files are there to be included.
    architecture
        ``sm_90`` gives a cubin, ``compute_90`` PTX.

    Raises
    ------
    BackendUnavailableError
        NVRTC is not installed.
    BackendError
        The source does not compile; the first line of the compiler's message is given.
    """
    nvrtc = _nvrtc()
    main = "".join(f'#include "{name}"\n' for name in sorted(sources) if name.endswith(".cu"))
    texts = [text.encode() for text in sources.values()]
    names = [name.encode() for name in sources]
    program = _call(
        nvrtc, nvrtc.nvrtcCreateProgram, main.encode(), b"vmruntime.cu", len(names), texts, names
    )
    try:
        options = [option.encode() for option in (f"-arch={architecture}", *OPTIONS)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(status):
            log = b" " * _call(nvrtc, nvrtc.nvrtcGetProgramLogSize, program)
            _call(nvrtc, nvrtc.nvrtcGetProgramLog, program, log)
            text = log.rstrip(b"\0 \n").decode(errors="replace")
            raise BackendError(
                f"the CUDA kernels do not compile for {architecture}: "
                f"{one_line(Exception(text))}; report this error"
            )
        cubin = architecture.startswith("sm_")
        size, get = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if cubin
            else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        image = b" " * _call(nvrtc, size, program)
        _call(nvrtc, get, program, image)
        return bytes(image)
    finally:
        _call(nvrtc, nvrtc.nvrtcDestroyProgram, program)


def _architecture(nvrtc: Any, compute_capability: tuple[int, int]) -> str:
    """What to compile for: the GPU itself, or the nearest that it also runs."""
    wanted = 10 * compute_capability[0] + compute_capability[1]
    known = sorted(int(number) for number in _call(nvrtc, nvrtc.nvrtcGetSupportedArchs))
    family = [n for n in known if n // 10 == compute_capability[0] and n <= wanted]
    if family:
        return f"sm_{family[-1]}"
    if wanted > known[-1]:
        return f"compute_{known[-1]}"
    raise BackendUnavailableError(
        f"this NVRTC compiles for compute capabilities from {known[0] / 10} on, the GPU has "
        f"{wanted / 10}; use --device cpu"
    )


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise BackendUnavailableError(f"cuda-bindings is not installed; {INSTALL}") from error
    return nvrtc


def _call(nvrtc: Any, function: Any, *arguments: Any) -> Any:
    try:
        status, *values = function(*arguments)
    # cuda-pathfinder has an error of its own for a library that is not there.
    except Exception as error:
        raise BackendUnavailableError(
            f"NVRTC cannot be used ({one_line(error, 100)}); {INSTALL}"
        ) from error
    if int(status):
        raise BackendError(f"NVRTC failed: {getattr(status, 'name', status)}; report this error")
    return values[0] if len(values) == 1 else tuple(values)
