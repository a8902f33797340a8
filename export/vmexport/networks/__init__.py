"""Registration networks in plain PyTorch, written so that they export to clean ONNX."""

from vmexport.networks.pooled_unet import PooledUNet
from vmexport.networks.registration import RegistrationNetwork
from vmexport.networks.strided_unet import StridedUNet
from vmexport.networks.tail import Tail
from vmexport.networks.warp import warp

__all__ = ["PooledUNet", "RegistrationNetwork", "StridedUNet", "Tail", "warp"]
