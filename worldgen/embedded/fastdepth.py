"""FastDepth (MIT): a 6 MB depth network for CPUs. Good shapes in rooms, useless in open landscapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.embedded.onnx_network import OnnxNetwork
from worldgen.models.assets import fetch
from worldgen.types import Camera, ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

_SIZE = 224  # the only input size that the file takes
_NEAREST_M, _FARTHEST_M = 0.1, 100.0  # the network may answer 0 or less for flat colour


class FastDepth:
    """Fulfils DepthEstimator. The network is loaded at the first call if nobody did before."""

    _loaded: OnnxNetwork | None = None

    def load(self, runtime: Runtime) -> None:
        """Onto the processor, whatever `runtime` says."""
        del runtime
        self._network()

    def release(self) -> None:
        """Frees the network's memory."""
        self._loaded = None

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] in [0, 1], any size -> zdepth [H, W] in metres, valid everywhere."""
        del camera  # the network was trained with one camera and asks for none
        small = F.interpolate(rgb[None], (_SIZE, _SIZE), mode="bilinear", antialias=True, align_corners=False)
        answer = torch.from_numpy(self._network()(small.clamp(0, 1).numpy()))
        zdepth = answer.reshape(1, 1, _SIZE, _SIZE).nan_to_num(_NEAREST_M).clamp(_NEAREST_M, _FARTHEST_M)
        zdepth = F.interpolate(zdepth, tuple(rgb.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
        return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))

    def _network(self) -> OnnxNetwork:
        if self._loaded is None:
            self._loaded = OnnxNetwork(fetch("fastdepth"))
        return self._loaded
