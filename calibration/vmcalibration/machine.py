"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vmruntime.version import __version__

__all__ = ["computes_bfloat16", "describe_machine"]

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instruction sets that decide which precision pays."""

PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino")


def describe_machine(threads: int) -> dict[str, Any]:
    """Processor, threads, memory, date and versions, for the report."""
    facts = _processor()
    flags = facts.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": facts.get("model name", platform.processor() or "unknown"),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "threads": threads,
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "voxelmorph-deploy": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def computes_bfloat16() -> bool:
    """Whether OpenVINO is there and has this processor's own bfloat16 to compute in."""
    try:
        import openvino
    except ImportError:
        return False
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


def _processor() -> dict[str, str]:
    facts: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return facts
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
