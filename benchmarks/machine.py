"""What a result was measured on: machine, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

__all__ = ["describe_machine", "describe_processor", "has_native_bf16"]

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instruction sets that decide which precision pays."""


def describe_processor() -> tuple[str, list[str]]:
    """Name of the processor, and which of `INSTRUCTIONS` it has."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", "").split()
    return facts.get("model name", "unknown"), [name for name in INSTRUCTIONS if name in flags]


def has_native_bf16() -> bool:
    """Whether the processor computes in bfloat16 itself; others emulate it."""
    return bool({"avx512_bf16", "amx_bf16"} & set(describe_processor()[1]))


def describe_machine(packages: Iterable[str]) -> dict[str, object]:
    """Processor, cores, memory, date, and versions of Python and some packages."""
    cpu, instructions = describe_processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "instructions": instructions,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }
