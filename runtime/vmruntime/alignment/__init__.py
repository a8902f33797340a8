"""Affine alignment of two scans in world millimetres, before the network.

After the recipe of the project's notes: block means, centres of mass, many starts over rotations,
then Levenberg-Marquardt on the correlation. It needs numpy alone.
"""

from __future__ import annotations

from vmruntime.alignment.align import align
from vmruntime.alignment.alignment import Alignment

__all__ = ["Alignment", "align"]
