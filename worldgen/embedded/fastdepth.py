"""FastDepth (MIT): a 6 MB depth network for CPUs. Good shapes in rooms, useless in open landscapes."""

from functools import cached_property

import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.models.assets import fetch
from worldgen.types import Camera

_SIZE = 224  # the only input size that the file takes
_NEAREST_M, _FARTHEST_M = 0.1, 100.0  # the network may answer 0 or less for flat colour


class FastDepth:
    """Fulfils DepthEstimator. The network is loaded on the first call."""

    def __call__(self, rgb: Tensor, camera: Camera) -> Tensor:
        """rgb [3, H, W] in [0, 1], any size -> zdepth [H, W] in metres, finite, > 0."""
        del camera  # the network was trained with one camera and asks for none
        small = F.interpolate(rgb[None], (_SIZE, _SIZE), mode="bilinear", antialias=True, align_corners=False)
        answer = torch.from_numpy(self._session.run(None, {"0": small.clamp(0, 1).numpy()})[0])
        zdepth = answer.reshape(1, 1, _SIZE, _SIZE).nan_to_num(_NEAREST_M).clamp(_NEAREST_M, _FARTHEST_M)
        return F.interpolate(zdepth, tuple(rgb.shape[1:]), mode="bilinear", align_corners=False)[0, 0]

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # hides a warning for every initializer that the graph does not use
        return onnxruntime.InferenceSession(str(fetch("fastdepth")), options, providers=["CPUExecutionProvider"])
