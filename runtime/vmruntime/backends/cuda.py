"""Our own kernels on an NVIDIA GPU: the U-Net on tensor cores in FP16, the tail in float32.

Needs the driver, cuda-bindings and NVRTC, and no engine: neither cuDNN nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vmruntime.backends.gpu import GpuBackend, find_gpu
from vmruntime.cuda.device import Memory
from vmruntime.cuda.tail import DeviceTail
from vmruntime.cuda.unet import OLDEST_GPU, UNet
from vmruntime.errors import BackendError, BackendUnavailableError
from vmruntime.unet.graph import read_graph
from vmruntime.unet.layers import read_layers
from vmruntime.unet.tail import find_tail
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact
    from vmruntime.cuda.device import Device

__all__ = ["CudaBackend"]

SCANS = ("moving", "fixed")


class CudaBackend(GpuBackend):
    """A model.onnx of ``vm-export --precision fp16`` in our own CUDA kernels.

    Each convolution adds up in float32 and rounds its result to FP16 once; the prediction is not
    rounded. Memory is allocated at the first run on a grid and used again. Calls take turns.

    Parameters
    ----------
    artifact
        The ONNX model, its U-Net in float16.
    device
        ``"cuda"``, ``"cuda:N"`` or ``"auto"``.
    threads
        Unused: the GPU has its own.
    precision
        ``"auto"`` or ``"fp16"``.
    gpu
        A device to run on instead, of `device`'s number.

    Raises
    ------
    BackendUnavailableError
        No GPU, an old one, a model in another precision, or one that is not a pooled U-Net of
        3 x 3 x 3 convolutions followed by VoxelMorph's tail.
    DeviceMemoryError
        The weights do not fit.
    """

    name = "cuda"
    version = __version__
    precision = "fp16"

    def __init__(
        self,
        artifact: Artifact,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        *,
        gpu: Device | None = None,
    ) -> None:
        _require_fit(artifact, device, precision)
        graph = read_graph(artifact.model)
        tail = find_tail(graph)
        layers = read_layers(graph, tail.prediction, self.name)
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._stride = artifact.manifest.stride
        self._unet: UNet | None = None
        if gpu is None:
            facts = find_gpu(device)
            _require_tensor_cores(facts.compute_capability, facts.name)
            from vmruntime.cuda.cuda_device import CudaDevice

            gpu = CudaDevice(facts.ordinal)
        super().__init__(artifact.path, gpu)
        self.device = f"cuda:{int(device.partition(':')[2] or 0)} {gpu.name}"
        self._tail = DeviceTail(gpu, tail, self._buffers.get)
        try:
            self._unet = UNet(gpu, layers, SCANS)
            if self._unet.channels != 3:
                raise BackendError(
                    f"{artifact.path}: its U-Net predicts {self._unet.channels} values a voxel, "
                    "not 3; make the file again with vm-export"
                )
        except BaseException:
            self.close()
            raise

    def _enqueue(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        if self._unet is None or stream != self.gpu.stream:
            raise BackendError("the cuda backend runs on the stream of its own GPU, `gpu.stream`")
        if any(size % self._stride for size in shape):
            raise BackendError(
                f"{self._path} takes grids in multiples of {self._stride} voxels, not "
                f"{' x '.join(map(str, shape))}"
            )
        # The same work on the same memory comes again with each pair, and is then one launch.
        key = (shape, *sorted(feeds.items()), *sorted(outputs.items()))
        self.gpu.repeat(key, partial(self._launch, self._unet, feeds, outputs, shape))

    def _launch(
        self,
        unet: UNet,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
    ) -> None:
        d, h, w = (size >> unet.level for size in shape)
        prediction = self._buffers.get("prediction", (3, d, h, w))
        unet.run(feeds, shape, prediction.address)
        voxels = int(np.prod(shape))
        if "displacement" in outputs or "moved" in outputs:
            address = outputs.get("displacement")
            field = (
                Memory(address, 12 * voxels)
                if address is not None
                else self._buffers.get("unwanted displacement", (3, *shape))
            )
            self._tail.displacement(prediction, (d, h, w), field)
            if "moved" in outputs:
                moving = Memory(feeds["moving"], 4 * voxels)
                moved = Memory(outputs["moved"], 4 * voxels)
                self._tail.moved(moving, field, shape, moved)
        if "inverse_displacement" in outputs:
            inverse = Memory(outputs["inverse_displacement"], 12 * voxels)
            self._tail.displacement(prediction, (d, h, w), inverse, backwards=True)

    def _drop(self) -> None:
        if self._unet is not None:
            self._unet.close()
        self._unet = None


def _require_fit(artifact: Artifact, device: str, precision: str) -> None:
    if artifact.kind != "onnx":
        raise BackendUnavailableError(
            f"the cuda backend runs ONNX models, and {artifact.path} is a plan; leave the backend "
            "to auto"
        )
    if device == "cpu":
        raise BackendUnavailableError(
            "the cuda backend runs on an NVIDIA GPU, not on the CPU; leave the backend to auto"
        )
    own = artifact.manifest.precision
    if own != "fp16":
        raise BackendUnavailableError(
            f"the cuda backend computes in fp16, and {artifact.path} is {own}; export it again "
            "with --precision fp16"
        )
    if precision not in ("auto", "fp16"):
        raise BackendUnavailableError(
            f"the cuda backend computes in fp16, not {precision}; leave the precision to auto"
        )


def _require_tensor_cores(compute_capability: tuple[int, int], name: str) -> None:
    if compute_capability < OLDEST_GPU:
        raise BackendUnavailableError(
            f"the cuda backend needs a GPU of compute capability {OLDEST_GPU[0]}.{OLDEST_GPU[1]} "
            f"(NVIDIA Ampere) or newer, and the {name} has "
            f"{compute_capability[0]}.{compute_capability[1]}; --backend onnxruntime runs there"
        )
