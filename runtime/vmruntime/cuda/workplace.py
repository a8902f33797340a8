"""A registration on the GPU that runs the network: scans go up, carried images come down.

::

    moving, fixed ──up──> native grid ──scale, sample──> model grid ──engine──> displacement
    labels ───────up──> native grid ──────────────┐                              │
                                                  └──carry, one interpolation <──┘
    moved, moved labels <──down──────────────────────────┘

What else there is (the displacement, the scans as the network saw them) stays on the device until
someone looks at it; see `vmruntime.cuda.lazy`. What is decided rather than computed, such as the
alignment, is done on the host before; see `vmruntime.preparation`. The results agree with
`vmruntime.workplace.HostWorkplace`, which is the reference. Verified on the kernels' source run on
the CPU, and on an H200.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends import Backend, DeviceBackend
from vmruntime.backends.protocol import not_finite
from vmruntime.cuda.arena import Arena, Scope
from vmruntime.cuda.device import Device, DeviceArray
from vmruntime.cuda.kernels import Kernels, Look, Placement
from vmruntime.cuda.lazy import DeviceDisplacement, DeviceVolume, Kept
from vmruntime.cuda.placing import Uploaded, on_grid, reversed_rows, stored_order
from vmruntime.displacement import Displacement
from vmruntime.errors import BackendError, DeviceLostError
from vmruntime.grid import Grid
from vmruntime.intensity import BRIGHT, IntensityRule
from vmruntime.transform import Interpolation, Transform
from vmruntime.volume import Volume
from vmruntime.workplace import HostWorkplace, Sampled, stands_on

__all__ = ["DeviceWorkplace"]

HELD = 2
"""Registrations of which fields stay on the device: the last, and the one that a loop's variable
still holds while the next is made. Those of older ones come down when another is made."""


class DeviceWorkplace:
    """The `Workplace` of a Registrar whose network runs on a GPU.

    Methods may be called from several threads; the device's lock lets one registration in at a
    time, so that there is one set of arrays whatever the number of threads. Cubic look-ups are done
    on the CPU, which is said in `Registrar.register`.

    Parameters
    ----------
    device
        The engine's own; closed by whoever opened it, after this.
    threads
        Threads for what is done on the host.
    """

    samples_at_once = False
    """The device is held by the registration's own thread."""

    def __init__(self, device: Device, threads: int) -> None:
        self.device = f"cuda {device.name}"
        self.arena = Arena(device, self._bring_down_all)
        self._gpu = device
        self._kernels = Kernels(self.arena)
        self.threads = threads
        self._host = HostWorkplace(threads)
        self._closed = False
        self._kept: list[list[weakref.ref[Kept]]] = []
        self._uploads: dict[int, Uploaded] | None = None
        self._in_use: list[Kept] = []

    @contextmanager
    def registration(self) -> Iterator[None]:
        """Hold the device for one pair; what was sent up stays until the end."""
        with self.arena.lock:
            self._require_open()
            self._bring_down(HELD - 1)
            self._kept = [*self._kept[1 - HELD :], []]
            self._uploads = {}
            try:
                yield
            finally:
                for upload in self._uploads.values():
                    self.arena.give(upload.array)
                self._uploads = None
                self.arena.trim()

    def sample(
        self, scan: Volume, rule: IntensityRule, affine: NDArray[np.float64], model: Grid
    ) -> Sampled:
        """See `Workplace.sample`."""
        with self._working() as scope:
            sent = self._sent(scope, scan.data if scan.stored is None else scan.stored)
            to_scan = np.eye(4)
            if not stands_on(scan.grid, affine, model):
                to_scan = np.linalg.inv(scan.grid.affine) @ affine @ model.affine
            source = sent.array if rule.is_proportional else self._scaled(scope, sent, rule)
            place = Placement(model.shape, reversed_rows(to_scan, sent))
            ((sampled, _),) = self._kernels.carry(scope, [Look(source, "linear")], place)
            if rule.kind == "divide":
                # After sampling, which it commutes with: a model grid is smaller than most scans.
                self._kernels.divide(sampled, sampled, rule.numbers[0])
            brightest = self._kernels.brightest(sampled, BRIGHT)
            volume = DeviceVolume(self._keep(scope, sampled), model, scan.header, scan.name)
        return Sampled(volume, brightest)

    def network(
        self, backend: Backend, moving: Volume, fixed: Volume, outputs: Sequence[str]
    ) -> list[Displacement]:
        """See `Workplace.network`."""
        if not isinstance(backend, DeviceBackend):
            return self._host.network(backend, moving, fixed, outputs)
        shape = fixed.grid.shape
        with self._working() as scope:
            feeds = {
                name: self._on_device(scope, volume).memory.address
                for name, volume in (("moving", moving), ("fixed", fixed))
            }
            fields = {name: scope.take((3, *shape), np.float32) for name in outputs}
            targets = {name: field.memory.address for name, field in fields.items()}
            backend.run_on_device(feeds, targets, shape, self._gpu.stream)
            for name, field in fields.items():
                if self._kernels.count_not_finite(field):
                    raise not_finite(name, (1, *field.shape))
            return [
                DeviceDisplacement(self._keep(scope, field), fixed.grid)
                for field in fields.values()
            ]

    def carry(
        self,
        transform: Transform,
        images: Sequence[tuple[Volume, Interpolation]],
        grid: Grid,
    ) -> list[Volume]:
        """See `Workplace.carry`."""
        for volume, _ in images[1:]:
            volume.require_grid(images[0][0].grid, "moving")
        carried: dict[int, Volume] = {}
        cubic = [number for number, (_, how) in enumerate(images) if how == "cubic"]
        if self._closed:
            cubic = list(range(len(images)))
        if cubic:
            some = self._host.carry(transform, [images[number] for number in cubic], grid)
            carried.update(zip(cubic, some, strict=True))
        rest = [number for number in range(len(images)) if number not in carried]
        if rest:
            looks = [(images[number][0], images[number][1], False) for number in rest]
            for number, (data, _) in zip(rest, self._look_up(transform, looks, grid), strict=True):
                source = images[number][0]
                carried[number] = Volume(data, grid, source.header, source.name)
        return [carried[number] for number in range(len(images))]

    def vote(self, transform: Transform, labels: Volume, grid: Grid) -> tuple[Volume, Volume]:
        """See `Workplace.vote`."""
        if self._closed:
            return self._host.vote(transform, labels, grid)
        ((winners, shares),) = self._look_up(transform, [(labels, "label", True)], grid)
        if shares is None:
            raise BackendError("the label vote gave no shares; report this error")
        moved = Volume(winners, grid, labels.header, labels.name)
        return moved, moved.with_data(shares)

    def jacobian(self, transform: Transform) -> Volume:
        """See `Workplace.jacobian`."""
        displacement = transform.displacement
        if displacement is None or self._closed:
            return self._host.jacobian(transform)
        scale = float(np.linalg.det(transform.affine[:3, :3]))
        output = transform.fixed
        with self._working() as scope:
            determinant = self._kernels.determinant(scope, self._on_device(scope, displacement))
            # Beyond the model's grid the affine's alone: what is carried is the change, 0 there.
            self._kernels.stretch(determinant, determinant, 1, 2)
            to_model = np.linalg.inv(displacement.grid.affine) @ output.affine
            place = Placement(output.shape, to_model)
            ((change, _),) = self._kernels.carry(scope, [Look(determinant, "linear")], place)
            # scale + scale * change
            self._kernels.stretch(change, change, -1, 1 / scale - 1)
            data = self._gpu.download(change.memory, change.shape, change.dtype)
        return Volume(data, output, name="jacobian")

    def close(self) -> None:
        """Bring down what someone still holds, and give all memory back; see `Workplace.close`."""
        with self.arena.lock:
            if self._closed:
                return
            self._closed = True
            # A device that is lost has nothing more to give; who asks for a result is told so.
            with suppress(DeviceLostError):
                self._bring_down_all()
            with suppress(DeviceLostError):
                self.arena.close()

    @contextmanager
    def _working(self) -> Iterator[Scope]:
        """Hold the device for one step, with arrays that go back at its end."""
        with self.arena.lock, self.arena.scope() as scope:
            self._require_open()
            try:
                yield scope
            finally:
                self._in_use.clear()

    def _look_up(
        self,
        transform: Transform,
        looks: Sequence[tuple[Volume, Interpolation, bool]],
        grid: Grid,
    ) -> list[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Values of images on a grid, and the winners' shares where they are wanted."""
        found: dict[int, tuple[NDArray[Any], NDArray[Any] | None]] = {}
        with self._working() as scope:
            sent = [self._sent(scope, _smallest(volume, how)) for volume, how, _ in looks]
            # Images that lie in memory in the same order share a launch.
            for flipped in sorted({upload.flipped for upload in sent}):
                some = [n for n, upload in enumerate(sent) if upload.flipped == flipped]
                place = self._placement(
                    scope, transform, looks[some[0]][0].grid, grid, sent[some[0]]
                )
                wanted = [Look(sent[n].array, looks[n][1], looks[n][2]) for n in some]
                both = self._kernels.carry(scope, wanted, place)
                for n, (values, share) in zip(some, both, strict=True):
                    found[n] = self._down(values), None if share is None else self._down(share)
        return [found[n] for n in range(len(looks))]

    def _placement(
        self, scope: Scope, transform: Transform, moving: Grid, output: Grid, sent: Uploaded
    ) -> Placement:
        """Output voxel -> model voxel -> displaced -> moving voxel, as `mapping.voxel_map`."""
        from_world = np.linalg.inv(moving.affine) @ transform.affine
        displacement = transform.displacement
        if displacement is None:
            return Placement(output.shape, reversed_rows(from_world @ output.affine, sent))
        model = displacement.grid
        to_model = np.linalg.inv(model.affine) @ output.affine
        return Placement(
            output.shape,
            to_model,
            self._on_device(scope, displacement),
            reversed_rows(from_world @ model.affine, sent),
            on_grid(model, output, to_model),
        )

    def _sent(self, scope: Scope, data: NDArray[Any]) -> Uploaded:
        """An array of the host on the device; once within a registration."""
        known = self._uploads
        if known is not None and id(data) in known:
            return known[id(data)]
        view, flipped = stored_order(data)
        array = scope.take(view.shape, view.dtype)
        self._gpu.upload(view, array.memory)
        upload = Uploaded(array, flipped, data)
        if known is not None:
            scope.keep(array)
            known[id(data)] = upload
        return upload

    def _scaled(self, scope: Scope, sent: Uploaded, rule: IntensityRule) -> DeviceArray:
        """A native scan through a rule that needs all of its values, float32."""
        same = Placement(sent.shape, np.eye(4))
        ((scaled, _),) = self._kernels.carry(scope, [Look(sent.array, "linear")], same)
        if rule.kind == "minmax":
            self._kernels.minmax(scaled, scaled)
        else:
            self._kernels.percentiles(scaled, scaled, *rule.numbers)
        return scaled

    def _on_device(self, scope: Scope, held: Volume | Displacement) -> DeviceArray:
        """A sampled scan's or a displacement's values, float32, which may be there still."""
        if isinstance(held, DeviceVolume | DeviceDisplacement):
            array = held.kept.on_device(self.arena)
            if array is not None:
                self._in_use.append(held.kept)
                return array
        values = np.ascontiguousarray(held.data, np.float32)
        array = scope.take(values.shape, np.float32)
        self._gpu.upload(values, array.memory)
        return array

    def _down(self, array: DeviceArray) -> NDArray[Any]:
        return self._gpu.download(array.memory, array.shape, array.dtype)

    def _keep(self, scope: Scope, array: DeviceArray) -> Kept:
        kept = Kept(self.arena, scope.keep(array))
        if not self._kept:
            self._kept.append([])
        self._kept[-1].append(weakref.ref(kept))
        return kept

    def _bring_down_all(self) -> None:
        self._bring_down(0)

    def _bring_down(self, but: int) -> None:
        """Fetch what is still held of all registrations but the last few, and not in use."""
        for references in self._kept[: max(0, len(self._kept) - but)]:
            for reference in references:
                kept = reference()
                if kept is not None and kept not in self._in_use:
                    kept.fetch()

    def _require_open(self) -> None:
        if self._closed or self._gpu.closed:
            raise BackendError(f"the model on {self._gpu.name} is closed; load it again")


def _smallest(volume: Volume, interpolation: Interpolation) -> NDArray[Any]:
    """What to send up of an image: the integers behind a scan, where linear takes them."""
    stored = volume.stored
    return volume.data if stored is None or interpolation != "linear" else stored
