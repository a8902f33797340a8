"""One loaded model that registers many pairs."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vmruntime.artifact import Artifact
from vmruntime.backends import Backend, open_backend
from vmruntime.displacement import Displacement
from vmruntime.errors import ArtifactError, BackendError, GridMismatchError
from vmruntime.intensity import IntensityRule
from vmruntime.io.images import Scan, read_scan
from vmruntime.manifest import Manifest
from vmruntime.registration import Registration
from vmruntime.stages import Stages
from vmruntime.transform import Transform
from vmruntime.volume import Volume

__all__ = ["Registrar"]

WARN_OFFSET_MM = 1.0


class Registrar:
    """A registration model, loaded and ready.

    A context manager; `close` may be called more than once. `register` may be called from several
    threads at once (each call uses all the threads of the Registrar); `close` only when none is
    under way. The results stay usable after it.

    Parameters
    ----------
    manifest
        The model's contract.
    backend
        The model in an inference engine; the Registrar owns it and closes it.
    threads
        Threads for the work around the network.
    """

    def __init__(self, manifest: Manifest, backend: Backend, threads: int | None = None) -> None:
        self.manifest = manifest
        self.backend = backend
        self.threads = threads or len(os.sched_getaffinity(0))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
    ) -> Registrar:
        """Load an artifact that vm-export made.

        Parameters
        ----------
        path
            ``model.onnx``.
        backend
            Inference engine; ``"auto"`` takes the best that is installed. `Registrar.backend` says
            which one it was.
        device
            ``"cpu"``, or ``"auto"``.
        threads
            Threads to use; None for all cores this process may run on.

        Raises
        ------
        ArtifactError
            The file is no artifact that this version can use.
        BackendError
            The engine is missing or does not take the model.
        """
        artifact = Artifact.read(path)
        manifest = artifact.manifest
        if (manifest.moving_channels, manifest.fixed_channels) != (1, 1):
            raise ArtifactError(
                f"{path}: the model takes {manifest.moving_channels} moving and "
                f"{manifest.fixed_channels} fixed channels; this runtime registers single-channel "
                "scans: run the model with onnxruntime directly"
            )
        return cls(manifest, open_backend(artifact, backend, device, threads), threads)

    def register(
        self,
        moving: Scan,
        fixed: Scan,
        *,
        intensity: str | None = None,
        moving_intensity: str | None = None,
        fixed_intensity: str | None = None,
        inverse: bool = False,
        stages: Stages | None = None,
    ) -> Registration:
        """Find the deformation that carries a moving scan onto a fixed one.

        Parameters
        ----------
        moving, fixed
            Path, nibabel image or Volume; both on the model's grid (shape, orientation, voxel
            size).
        intensity
            Rule used instead of the manifest's, such as ``"none"`` for scans already scaled.
        moving_intensity, fixed_intensity
            The same for one of the scans.
        inverse
            Also compute the inverse transform (diffeomorphic models only).
        stages
            Where to add this call's timings; also announces each stage, if made to.

        Raises
        ------
        ScanError
            A scan cannot be used.
        GridMismatchError
            A scan does not lie on the model's grid.
        ManifestError
            `intensity` is no rule.
        BackendError
            The engine failed, the Registrar is closed, or an inverse was asked of a model that has
            none.
        """
        if inverse and not self.manifest.diffeomorphic:
            raise BackendError(
                "this model predicts a displacement, not a velocity: it has no inverse; "
                "register without one"
            )
        rules = [
            IntensityRule.parse(own or intensity or self.manifest.intensity)
            for own in (moving_intensity, fixed_intensity)
        ]
        stages = stages or Stages()
        with stages("read"):
            scans = [read_scan(moving), read_scan(fixed)]
            for scan, role in zip(scans, ("moving", "fixed"), strict=True):
                self._require_model_grid(scan, role)
        with stages("normalise"):
            scaled = [
                scan.with_data(rule.apply(scan.data))
                for scan, rule in zip(scans, rules, strict=True)
            ]
            warnings = _warnings(scans, scaled)
        with stages("network"):
            fields = self._run(scaled[0].data, scaled[1].data, inverse)
        transforms = [Transform(Displacement(fields[0], scans[1].grid), scans[0].grid)]
        if inverse:
            transforms.append(Transform(Displacement(fields[1], scans[0].grid), scans[1].grid))
        with stages("resample"):
            moved = transforms[0].apply(scans[0], threads=self.threads)
        return Registration(
            moved=Volume(moved.data, scans[1].grid, scans[1].header, "moved"),
            transform=transforms[0],
            inverse=transforms[1] if inverse else None,
            moving=scaled[0],
            fixed=scaled[1],
            moving_rule=rules[0],
            stages=stages,
            warnings=warnings,
            threads=self.threads,
        )

    def close(self) -> None:
        """Release the engine. A closed Registrar registers nothing more."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _require_model_grid(self, scan: Volume, role: str) -> None:
        differences = self.manifest.grid_differences(scan.grid)
        if differences:
            raise GridMismatchError(
                f"{scan.name}: the {role} scan is not on the model's grid: "
                f"{', '.join(differences)}; resample it onto that grid first"
            )

    def _run(
        self, moving: NDArray[np.float32], fixed: NDArray[np.float32], inverse: bool
    ) -> list[NDArray[np.float32]]:
        if moving.shape != fixed.shape:
            raise GridMismatchError(
                f"the moving scan has {moving.shape} voxels, the fixed one {fixed.shape}; "
                "resample one onto the other first"
            )
        names = ["displacement", "inverse_displacement"][: 1 + inverse]
        feeds = {"moving": moving[None, None], "fixed": fixed[None, None]}
        outputs = self.backend.run(feeds, names)
        fields: list[NDArray[Any]] = []
        for name in names:
            field = np.asarray(outputs[name], dtype=np.float32)
            if field.ndim != 5 or not np.isfinite([field.min(), field.max()]).all():
                raise BackendError(
                    f"the model's {name} has shape {field.shape} or holds NaN; "
                    "verify the artifact with vm-export, check the scans' intensities"
                )
            fields.append(field[0])
        return fields


def _warnings(scans: list[Volume], scaled: list[Volume]) -> tuple[str, ...]:
    found = [IntensityRule.suspicion(volume.data, volume.name) for volume in scaled]
    offset = scans[0].grid.offset_mm(scans[1].grid)
    if offset > WARN_OFFSET_MM and scans[0].grid.shape == scans[1].grid.shape:
        found.append(
            f"{scans[0].name} lies up to {offset:.3g} mm away from {scans[1].name} in the world; "
            "they are registered voxel by voxel, as if aligned"
        )
    return tuple(text for text in found if text)
