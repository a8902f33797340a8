"""The layouts that can be read; to add one, write its file and name it here."""

from __future__ import annotations

from vmexport.checkpoints import keras_cvpr2018, keras_vxm_dense, vxm_dense, vxm_dense_legacy
from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.layout import Layout
from vmexport.checkpoints.stored import Stored

LAYOUTS: tuple[Layout, ...] = (
    vxm_dense.LAYOUT,
    vxm_dense_legacy.LAYOUT,
    keras_vxm_dense.LAYOUT,
    keras_cvpr2018.LAYOUT,
)

_KEYS_SHOWN = 6


def recognize(stored: Stored) -> Layout:
    """Return the layout whose keys the file has.

    Raises
    ------
    CheckpointError
        If there is none: with the first keys found and those that each layout has.
    """
    for layout in LAYOUTS:
        if layout.matches(stored):
            return layout
    found = ", ".join(repr(key) for key in stored.keys[:_KEYS_SHOWN]) or "none"
    more = len(stored.keys) - _KEYS_SHOWN
    if more > 0:
        found += f" and {more} more"
    expected = "; ".join(f"{layout.name}: {layout.expects}" for layout in LAYOUTS)
    raise CheckpointError(
        f"{stored.path}: not a known VoxelMorph layout, keys found: {found}; "
        f"expected one of [{expected}]; save the model with voxelmorph's own VxmDense.save"
    )
