"""Where the kernels' source lies: beside this package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from vmruntime.errors import BackendUnavailableError

__all__ = ["kernel_sources"]

PACKAGE = Path(__file__).resolve().parents[1]

PLACES = (PACKAGE / "cuda" / "csrc", PACKAGE.parent / "csrc" / "cuda")
"""In a wheel, in a checkout."""


def kernel_sources() -> dict[str, str]:
    """All files of ``runtime/csrc/cuda`` (``.cu``, ``.cuh``, ``.h``): name to text.

    Raises
    ------
    BackendUnavailableError
        This installation lacks them.
    """
    for place in PLACES:
        found = sorted(p for p in place.glob("*") if p.suffix in (".cu", ".cuh", ".h"))
        if any(path.suffix == ".cu" for path in found):
            return {path.name: path.read_text(encoding="utf-8") for path in found}
    raise BackendUnavailableError(
        f"this installation lacks the CUDA kernels' source ({PLACES[0]}); install it again"
    )
