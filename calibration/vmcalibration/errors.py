"""Errors of calibration, below the runtime's one root."""

from __future__ import annotations

from vmruntime.errors import VMError

__all__ = ["CalibrationError"]


class CalibrationError(VMError):
    """A model or list of pairs cannot be calibrated with, or some pairs could not be used."""
