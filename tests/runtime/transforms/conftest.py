"""The other side's own readers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest


@pytest.fixture(scope="session")
def sitk() -> Any:
    """SimpleITK."""
    return pytest.importorskip("SimpleITK", reason="the test extra is not installed")


@pytest.fixture(scope="session")
def ants() -> Any:
    """ANTsPy, whose own imports warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ants", reason="antspyx is not installed")


@pytest.fixture(scope="session")
def nitransforms() -> Any:
    """nitransforms, whose own imports warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("nitransforms", reason="nitransforms is not installed")
