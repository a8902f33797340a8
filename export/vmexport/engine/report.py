"""What a build was like, for the person who started it."""

from __future__ import annotations

from dataclasses import dataclass

from vmexport.engine.inspection import LayerCounts

__all__ = ["BuildReport"]


@dataclass(frozen=True)
class BuildReport:
    """Figures of one build.

    Parameters
    ----------
    toolkit
        Name and version of what built it.
    warp
        Form of the warp.
    gpus
        Compute capabilities that the plan is for; empty where not known.
    layers
        Layers of the parsed network by type.
    activation_bytes
        Device memory for intermediate tensors, as the builder says; None where it does not.
    seconds
        Parsing and building.
    plan_bytes
        Size of the plan.
    peak_host_bytes
        Largest memory of this process so far.
    warnings
        What the builder warned of.
    """

    toolkit: str
    warp: str
    gpus: tuple[int, ...]
    layers: LayerCounts
    activation_bytes: int | None
    seconds: float
    plan_bytes: int
    peak_host_bytes: int
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report as ``name  value`` lines."""
        gpus = ", ".join(f"{n // 10}.{n % 10}" for n in self.gpus) or "not known"
        memory = "not said by the builder"
        if self.activation_bytes is not None:
            memory = f"{self.activation_bytes / 1e6:.0f} MB on the GPU"
        lines = [
            f"built      with {self.toolkit} in {self.seconds:.1f} s, "
            f"peak host memory {self.peak_host_bytes / 1e9:.2f} GB",
            f"for        compute capability {gpus}",
            f"layers     {self.layers}; {self.warp} warp",
            f"activation {memory}",
        ]
        return lines + [f"warning    {text}" for text in self.warnings]
