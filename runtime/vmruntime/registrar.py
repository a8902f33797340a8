"""One loaded model that registers many pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Literal, Self

import numpy as np

from vmruntime.artifact import Artifact
from vmruntime.backends import Backend, open_backend
from vmruntime.displacement import Displacement
from vmruntime.errors import ArtifactError, DeviceLostError
from vmruntime.grid import Grid
from vmruntime.inversion import invert_displacement
from vmruntime.io.images import Scan, read_labels, read_scan
from vmruntime.io.together import read_together
from vmruntime.manifest import Manifest
from vmruntime.preparation import AffineSource, Preparation, decide, sample
from vmruntime.registration import Registration
from vmruntime.stages import Stages
from vmruntime.transform import Interpolation, Transform
from vmruntime.volume import Volume
from vmruntime.workplace import Workplace, workplace_of

__all__ = ["OutputGrid", "Registrar"]

OutputGrid = Grid | Literal["fixed", "model", "moving"]


class Registrar:
    """A registration model, loaded and ready.

    A context manager; `close` may be called more than once. `register` may be called from several
    threads at once (each call uses all the threads of the Registrar; on a GPU pairs take turns, and
    two Registrars do not wait for each other); `close` only when none is under way. The results
    stay usable after it.

    On a GPU the scans go up, carried images and labels come down, and nothing else but what is
    asked of the result; alignment and inversion are done on the CPU. An error leaves the Registrar
    as it was, or, where the GPU failed, closed.

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
        self.workplace = workplace_of(backend, self.threads)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Artifact,
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        announce: Callable[[str], None] | None = None,
    ) -> Registrar:
        """Load an artifact that vm-export made.

        Parameters
        ----------
        path
            ``model.onnx`` or a plan, or what `Artifact.read` gave for one.
        backend
            Inference engine; ``"auto"`` takes the best that this machine and this file allow.
            `Registrar.backend` says which one it was.
        device
            ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"auto"``.
        threads
            Threads to use; None for all cores this process may run on.
        precision
            What the U-Net is computed in: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"`` for
            the engine's choice.
        announce
            Called with why a better engine was passed over.

        Raises
        ------
        ArtifactError
            The file is no artifact that this version can use.
        BackendError
            The engine is missing or does not take the model.
        """
        artifact = path if isinstance(path, Artifact) else Artifact.read(path)
        manifest = artifact.manifest
        if (manifest.moving_channels, manifest.fixed_channels) != (1, 1):
            raise ArtifactError(
                f"{artifact.path}: the model takes {manifest.moving_channels} moving and "
                f"{manifest.fixed_channels} fixed channels; this runtime registers single-channel "
                "scans: run the model with onnxruntime directly"
            )
        opened = open_backend(artifact, backend, device, threads, precision, announce)
        return cls(manifest, opened, threads)

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
            How the moving scan is looked up; cubic is sharper, overshoots at edges, and is done on
            the CPU.
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
            The engine failed, or the Registrar is closed. `DeviceMemoryError`: the GPU's memory is
            too short for this pair. `DeviceLostError`: the GPU failed, and the Registrar is closed.
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
            readers = [partial(read_scan, scan) for scan in (moving, fixed)]
            readers += [partial(read_labels, scan) for scan in labels]
            moving_scan, fixed_scan, *segmentations = read_together(readers, self.threads)
            for segmentation in segmentations:
                segmentation.require_grid(moving_scan.grid, "moving")
        decision = decide(self.manifest, moving_scan, fixed_scan, how, stages, self.threads)
        model = decision.model
        grids = {"fixed": fixed_scan.grid, "model": model, "moving": moving_scan.grid}
        output = grid if isinstance(grid, Grid) else grids[grid]
        header = fixed_scan.header if output is fixed_scan.grid else None
        images: list[tuple[Volume, Interpolation]] = [(moving_scan, interpolation)]
        images += [(segmentation, label_interpolation) for segmentation in segmentations]
        back = None
        with self._at_work() as workplace:
            with stages("prepare"):
                pair = sample(decision, moving_scan, fixed_scan, workplace)
            with stages("network"):
                fields = workplace.network(
                    self.backend, pair.moving, pair.fixed, self._fields(inverse)
                )
            transform = Transform(fixed_scan.grid, moving_scan.grid, pair.affine, fields[0])
            if inverse:
                with stages("invert"):
                    back = self._inverse(transform, *fields)
            with stages("resample"):
                carried = [
                    Volume(image.data, output, header, f"moved {image.name}")
                    for image in workplace.carry(transform, images, output)
                ]
        return Registration(
            moved=carried[0],
            moved_labels=tuple(carried[1:]),
            transform=transform,
            inverse=back,
            pair=pair,
            stages=stages,
            workplace=self.workplace,
        )

    def close(self) -> None:
        """Release the engine. A closed Registrar registers nothing more.

        Results stay usable: what they still have on a GPU is fetched, and what is asked of them
        later is done on the CPU.
        """
        self.workplace.close()
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

    @contextmanager
    def _at_work(self) -> Iterator[Workplace]:
        """Hold the workplace for one pair.

        A GPU that fails closes the Registrar; after any other error it is as it was before.
        """
        try:
            with self.workplace.registration():
                yield self.workplace
        except DeviceLostError:
            self.close()
            raise

    def _fields(self, inverse: bool) -> list[str]:
        """What to ask of the model."""
        names = ["displacement"]
        if inverse and self.manifest.diffeomorphic:
            names.append("inverse_displacement")
        return names

    def _inverse(
        self, transform: Transform, displacement: Displacement, start: Displacement | None = None
    ) -> Transform:
        """The way back: inverse affine, then the inverse displacement in the fixed world."""
        # Minus the velocity integrates to the inverse within a tenth of a millimetre on average;
        # a few steps of iteration make it exact.
        estimate = None if start is None else start.data
        inverse = invert_displacement(displacement, estimate, threads=self.threads)
        # The model's grid as it lies in the moving world, where the way back starts.
        there = Grid(inverse.grid.shape, transform.affine @ inverse.grid.affine)
        affine = np.linalg.inv(transform.affine).astype(np.float64)
        return Transform(
            transform.moving, transform.fixed, affine, Displacement(inverse.data, there)
        )
