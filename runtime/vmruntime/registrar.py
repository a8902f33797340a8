"""One loaded model that registers many pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from vmruntime.artifact import Artifact
from vmruntime.backends import Backend, open_backend
from vmruntime.displacement import Displacement
from vmruntime.errors import ArtifactError, BackendError
from vmruntime.grid import Grid
from vmruntime.inversion import invert_displacement
from vmruntime.io.images import Scan, read_labels, read_scan
from vmruntime.manifest import Manifest
from vmruntime.preparation import AffineSource, Preparation, prepare
from vmruntime.registration import Registration
from vmruntime.stages import Stages
from vmruntime.transform import Interpolation, Transform
from vmruntime.volume import Volume

__all__ = ["OutputGrid", "Registrar"]

OutputGrid = Grid | Literal["fixed", "model", "moving"]


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
        affine: AffineSource = None,
        affine_search: Literal["quick", "full"] = "quick",
        force_affine: bool = False,
        reference: Scan | None = None,
        intensity: str | None = None,
        moving_intensity: str | None = None,
        fixed_intensity: str | None = None,
        inverse: bool = False,
        interpolation: Literal["linear", "cubic"] = "linear",
        labels: Sequence[Scan] = (),
        label_interpolation: Literal["nearest", "label"] = "nearest",
        grid: OutputGrid = "fixed",
        stages: Stages | None = None,
    ) -> Registration:
        """Find the deformation that carries a moving scan onto a fixed one.

        Parameters
        ----------
        moving, fixed
            Path, nibabel image or Volume, of any orientation, voxel size and field of view.
        affine
            ``"auto"`` aligns the scans, ``"header"`` trusts their headers, ``"none"`` takes them
            voxel by voxel and demands the model's grid; a file (ITK, FSL, LTA) or a ``(4, 4)``
            matrix, fixed world to moving world, RAS+ mm, is used as it is. None: ``"none"`` where
            both scans stand on the model's grid at the same place, else ``"auto"``.
        affine_search
            ``"full"`` also finds an alignment from any rotation, for longer.
        force_affine
            Go on where the alignment is evidently wrong.
        reference
            A scan of the model's training space; the fixed scan is aligned to it to place the
            model's grid. None places the grid around the fixed scan's foreground.
        intensity
            Rule used instead of the manifest's, such as ``"none"`` for scans already scaled.
        moving_intensity, fixed_intensity
            The same for one of the scans.
        inverse
            Also compute the inverse transform: the integral of minus the velocity where the model
            is diffeomorphic, improved by iteration, else by iteration alone.
        interpolation
            How the moving scan is looked up; cubic is sharper and overshoots at edges.
        labels
            Segmentations of the moving scan, carried over together with it (see
            `Registration.moved_labels`): faster than `Registration.warp_labels` afterwards.
        label_interpolation
            As `Registration.warp_labels` takes it.
        grid
            Where carried images come to lie: the ``"fixed"`` scan's grid, the ``"model"``'s, the
            ``"moving"`` scan's, or any other, in the fixed scan's world.
        stages
            Where to add this call's timings; also announces each stage, if made to.

        Raises
        ------
        ScanError
            A scan or segmentation cannot be used.
        GridMismatchError
            ``"none"`` was asked for and a scan does not stand on the model's grid, or a
            segmentation does not lie on the moving scan's.
        AlignmentError
            The alignment is evidently wrong.
        TransformError
            The file of the affine cannot be read.
        ManifestError
            `intensity` is no rule.
        BackendError
            The engine failed, or the Registrar is closed.
        """
        how = Preparation(
            affine=affine,
            search=affine_search,
            force=force_affine,
            reference=None if reference is None else read_scan(reference),
            moving_intensity=moving_intensity or intensity,
            fixed_intensity=fixed_intensity or intensity,
        )
        stages = stages or Stages()
        with stages("read"):
            moving_scan, fixed_scan = read_scan(moving), read_scan(fixed)
            segmentations = [read_labels(scan) for scan in labels]
            for segmentation in segmentations:
                segmentation.require_grid(moving_scan.grid, "moving")
        pair = prepare(self.manifest, moving_scan, fixed_scan, how, stages, self.threads)
        with stages("network"):
            fields = self._run(pair.moving.data, pair.fixed.data, inverse)
        model = pair.fixed.grid
        displacement = Displacement(fields[0], model)
        transform = Transform(fixed_scan.grid, moving_scan.grid, pair.affine, displacement)
        back = None
        if inverse:
            with stages("invert"):
                start = fields[1] if len(fields) > 1 else None
                back = self._inverse(transform, displacement, start)
        with stages("resample"):
            grids = {"fixed": fixed_scan.grid, "model": model, "moving": moving_scan.grid}
            output = grid if isinstance(grid, Grid) else grids[grid]
            header = fixed_scan.header if output is fixed_scan.grid else None
            images: list[tuple[Volume, Interpolation]] = [(moving_scan, interpolation)]
            images += [(segmentation, label_interpolation) for segmentation in segmentations]
            carried = [
                Volume(image.data, output, header, f"moved {image.name}")
                for image in transform.apply_all(images, grid=output, threads=self.threads)
            ]
        return Registration(
            moved=carried[0],
            moved_labels=tuple(carried[1:]),
            transform=transform,
            inverse=back,
            pair=pair,
            stages=stages,
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

    def _inverse(
        self,
        transform: Transform,
        displacement: Displacement,
        start: NDArray[np.float32] | None,
    ) -> Transform:
        """The way back: inverse affine, then the inverse displacement in the fixed world."""
        # Minus the velocity integrates to the inverse within a tenth of a millimetre on average;
        # a few steps of iteration make it exact.
        inverse = invert_displacement(displacement, start, threads=self.threads)
        # The model's grid as it lies in the moving world, where the way back starts.
        there = Grid(inverse.grid.shape, transform.affine @ inverse.grid.affine)
        affine = np.linalg.inv(transform.affine).astype(np.float64)
        return Transform(
            transform.moving, transform.fixed, affine, Displacement(inverse.data, there)
        )

    def _run(
        self, moving: NDArray[np.float32], fixed: NDArray[np.float32], inverse: bool
    ) -> list[NDArray[np.float32]]:
        names = ["displacement"]
        if inverse and self.manifest.diffeomorphic:
            names.append("inverse_displacement")
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
