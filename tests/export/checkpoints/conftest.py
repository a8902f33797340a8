"""Scans for the small networks."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def scans() -> tuple[torch.Tensor, torch.Tensor]:
    """Two random scans on the small networks' grid."""
    generator = torch.Generator().manual_seed(7)
    return (
        torch.rand(1, 1, 16, 8, 24, generator=generator),
        torch.rand(1, 1, 16, 8, 24, generator=generator),
    )
