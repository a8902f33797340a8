"""Where the files of a batch lie."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vmruntime.batch.pair import Pair
from vmruntime.batch.settings import Settings
from vmruntime.io.outputs import Outputs
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmruntime.cli.registering import Request

__all__ = ["Layout", "remove_leftovers"]

TEMPORARY = r"[a-z0-9_]{8}"
"""What `tempfile.mkstemp` puts into a name."""


@dataclass(frozen=True)
class Layout:
    """Names of all files of a batch.

    Parameters
    ----------
    out
        The folder; absolute, for workers may run elsewhere.
    """

    out: Path

    @property
    def records(self) -> Path:
        """Folder of what is known about each pair."""
        return self.out / ".vm-batch"

    def record(self, name: str) -> Path:
        """Record of a pair or of a fused subject."""
        return self.records / f"{name}.json"

    def folder(self, subject: str) -> Path:
        """Folder of a subject's files."""
        return self.out / subject

    def request(self, model: Path, pair: Pair, settings: Settings) -> Request:
        """A pair as ``vm-infer`` would be asked for it, with names of BIDS derivatives."""
        from vmruntime.cli.bids import bids_names
        from vmruntime.cli.registering import Request

        names = bids_names(f"{self.folder(pair.subject)}/{pair.id}_", 1 if pair.moving_seg else 0)
        options = {
            "moved": "moved",
            "labels": "moved_seg",
            "warp": "warp",
            "inverse": "inverse_warp",
            "affine": "affine_out",
            "jacobian": "jacobian",
            "report": "report",
            "figure": "figure",
        }
        chosen = {
            option: names[option] if kind in settings.write else () if kind == "labels" else None
            for kind, option in options.items()
        }
        return Request(
            model=model,
            moving=pair.moving,
            fixed=pair.fixed,
            force=True,
            moving_seg=(pair.moving_seg,) if pair.moving_seg else (),
            fixed_seg=pair.fixed_seg if pair.moving_seg else None,
            confidence=None,
            report_html=None,
            bids_prefix=None,
            grid="fixed",
            affine=settings.affine,
            affine_search=settings.affine_search,
            force_affine=settings.force_affine,
            reference=settings.reference,
            image_interp=settings.image_interp,
            interp=settings.interp,
            intensity=settings.intensity,
            moving_intensity=settings.moving_intensity,
            fixed_intensity=settings.fixed_intensity,
            dice_labels=settings.dice_labels,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            threads=None,
            verbose=False,
            **chosen,  # type: ignore[arg-type]
        )

    def outputs(self, pair: Pair, settings: Settings) -> list[Path]:
        """Every file that is written of a pair."""
        request = self.request(Path(), pair, settings)
        return [path for path in (*request.outputs(), *request.moved_seg) if path]

    def image(self, pair: Pair, kind: Literal["moved", "labels"]) -> Path:
        """The carried scan, or the carried labels, of a pair."""
        from vmruntime.cli.bids import bids_names

        names = bids_names(f"{self.folder(pair.subject)}/{pair.id}_", 1)
        found = names["moved_seg"][0] if kind == "labels" else names["moved"]  # type: ignore[index]
        return Path(found)  # type: ignore[arg-type]

    def fused(self, subject: str) -> dict[str, Path]:
        """Files of several atlases' common labels."""
        prefix = f"{self.folder(subject)}/{subject}_space-fixed_desc-fused"
        return {
            "labels": Path(f"{prefix}_dseg.nii.gz"),
            "confidence": Path(f"{prefix}confidence_map.nii.gz"),
        }

    def begin(self) -> None:
        """Make the folder, and say in it what BIDS wants to know about derivatives.

        Raises
        ------
        OSError
            It cannot be made.
        """
        self.records.mkdir(parents=True, exist_ok=True)
        description = self.out / "dataset_description.json"
        if not description.exists():
            facts = {
                "Name": "Registrations by vm-batch",
                "BIDSVersion": "1.10.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "voxelmorph-deploy vm-batch", "Version": __version__}],
            }
            with Outputs() as outputs:
                outputs.file(description).write_text(json.dumps(facts, indent=2) + "\n")


def remove_leftovers(finals: Iterable[Path]) -> None:
    """Remove temporary files that a killed process left of some outputs (see `Outputs`)."""
    for final in finals:
        pattern = re.compile(rf"\.{re.escape(final.name[:50])}\.{TEMPORARY}\..*")
        with contextlib.suppress(OSError):
            for path in final.resolve().parent.iterdir():
                if pattern.fullmatch(path.name):
                    path.unlink(missing_ok=True)
