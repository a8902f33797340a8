"""Names of BIDS derivatives for everything that ``vm-infer`` writes.

BIDS 1.10, derivatives; ``xfm`` as BEP 014 (spatial transforms) proposes it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["bids_names"]


def bids_names(prefix: str, segmentations: int) -> dict[str, Path | tuple[Path, ...]]:
    """Option of ``vm-infer``: file name.

    Parameters
    ----------
    prefix
        Folder and entities, such as ``out/sub-01_``.
    segmentations
        How many segmentations are carried over; they are numbered from the second on.
    """
    labels = tuple(
        Path(f"{prefix}space-fixed_{f'desc-{number}_' if number > 1 else ''}dseg.nii.gz")
        for number in range(1, segmentations + 1)
    )
    return {
        "moved": Path(f"{prefix}space-fixed_desc-moved_T1w.nii.gz"),
        "warp": Path(f"{prefix}from-moving_to-fixed_mode-image_xfm.nii.gz"),
        "inverse_warp": Path(f"{prefix}from-fixed_to-moving_mode-image_xfm.nii.gz"),
        "affine_out": Path(f"{prefix}from-moving_to-fixed_mode-image_desc-affine_xfm.txt"),
        "moved_seg": labels,
        "jacobian": Path(f"{prefix}space-fixed_desc-jacobian_map.nii.gz"),
        "report": Path(f"{prefix}desc-registration_qc.json"),
        "figure": Path(f"{prefix}desc-registration_qc.png"),
    }
