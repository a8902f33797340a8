"""Running an artifact and its source on one pair, and measuring the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmexport.verification.compare import compare, run_backend
from vmexport.verification.limits import Limits
from vmexport.verification.pair import Pair
from vmruntime.backends import Backend

if TYPE_CHECKING:
    from torch import nn

__all__ = ["reference_outputs", "verify"]


def verify(
    source: nn.Module,
    backend: Backend,
    pair: Pair,
    voxel_size: tuple[float, float, float],
    limits: Limits,
) -> dict[str, Any]:
    """Compare an artifact with the PyTorch network it was made from, every output of it.

    Parameters
    ----------
    source
        The network in float32.
    backend
        The artifact, loaded.
    pair
        The scans.
    voxel_size
        Millimetres along each array axis.
    limits
        What the displacements may differ by.

    Returns
    -------
    dict
        As `compare` gives it, for the manifest.

    Raises
    ------
    VerificationError
        A displacement is over its limit.
    """
    found = run_backend(backend, pair)
    backend.close()  # an engine keeps its working memory, gigabytes, and PyTorch needs as much
    engine = f"{backend.name} {backend.version} {backend.device}"
    return compare(reference_outputs(source, pair), found, pair, voxel_size, limits, engine=engine)


def reference_outputs(source: nn.Module, pair: Pair) -> dict[str, NDArray[np.float32]]:
    """Every output that an artifact of this network should give on a pair, by PyTorch.

    Parameters
    ----------
    source
        The network in float32.
    pair
        The scans.
    """
    import torch

    from vmexport.graph.artifact_module import ArtifactModule, output_names
    from vmexport.verification.frugal import frugal

    d, h, w = pair.moving.shape[1:]
    module = ArtifactModule(frugal(source, (d, h, w))).eval()
    with torch.inference_mode():
        scans = (torch.from_numpy(scan[np.newaxis]) for scan in (pair.moving, pair.fixed))
        outputs = module(*scans)
    return dict(zip(output_names(source), (o.numpy()[0] for o in outputs), strict=True))
