"""Metric3Dv2 (Hu et al., TPAMI 2024; BSD-2): the metric depth of a view, by the authors' code through torch.hub.

Checked against YvanYin/Metric3D at eb5b6fa. Its decoder makes its depth bins on "cuda", so that it needs a GPU.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError, expect, first_line
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.hub_file import HubFile
from worldgen.models.protocols import DepthEstimator
from worldgen.models.upstream import checkout, load_state, read_checkpoint
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime
    from worldgen.types import Camera

CLONE = "git clone https://github.com/YvanYin/Metric3D"
SIZES = {"small": "0.2 GB", "large": "1.6 GB", "giant2": "5.5 GB"}
INPUT = (616, 1064)  # pixels, height and width, of what the ViTs were trained on
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of 0 to 255
_CANONICAL_PX = 1000.0  # focal length of the camera that the network believes to look through
_FARTHEST_M = 300.0


@dataclass
class Metric3D(HubAdapter, DepthEstimator):
    """Fulfils DepthEstimator.

    variant: small, large or giant2. checkout: a folder with the authors' repository; None = the one that torch.hub has
    fetched before. path: the file of weights, or its folder, on this machine, instead of the local hub cache. download:
    whether what is missing may be fetched, code and weights. farthest_m: what is farther is not valid. key: where the
    config has it, for messages.
    """

    model: str = field(default="JUGGHM/Metric3D", init=False)
    size: str = field(default="", init=False)
    variant: str = "giant2"
    checkout: str | None = None
    farthest_m: float = 200.0
    key: str = "depth.metric"
    _network: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        expect(f"{self.key}.variant", self.variant, self.variant in SIZES, f"one of {', '.join(SIZES)}")
        self.size = SIZES[self.variant]
        fits = 0 < self.farthest_m <= _FARTHEST_M
        expect(f"{self.key}.farthest_m", self.farthest_m, fits, f"more than 0, at most {_FARTHEST_M:g}")

    @property
    def checkpoint(self) -> HubFile:
        """The checkpoint."""
        file = f"metric_depth_vit_{self.variant}_800k.pth"
        return HubFile(self.model, file, self.size, self.key, self.path, self.download)

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        there = self.checkout is not None or self.download or self._code() is not None
        return None if there else f"{self.key}.checkout: null, wanted a folder with hubconf.py; {CLONE} makes one"

    def load(self, runtime: Runtime) -> None:
        """Raises UserError where the authors' code, a library that it needs, or the weights are not here."""
        if self._network is not None:
            return
        self._network = self._built().eval().requires_grad_(False).to(runtime.torch_device)

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    def _built(self) -> Any:
        """The network, on the CPU. Its code prints what it is doing, which is nobody's concern here."""
        clone = f"{CLONE} && pip install mmengine mmcv-lite"
        with checkout(self._code(), f"{self.key}.checkout", clone, "hubconf.py") as root:
            file = self.checkpoint.here()
            state = read_checkpoint(file, self.key, ("model_state_dict",))["model_state_dict"]
            with contextlib.redirect_stdout(io.StringIO()):
                network = torch.hub.load(str(root), f"metric3d_vit_{self.variant}", source="local", pretrain=False)
        load_state(network, state, f"{self.key}: {file}")
        return network

    def _code(self) -> str | None:
        """The folder with the authors' code; None where it is not here."""
        if self.checkout is not None:
            return self.checkout
        fetched = Path(torch.hub.get_dir()) / "yvanyin_metric3d_main"
        if not fetched.is_dir() and self.download:
            try:
                torch.hub.list("yvanyin/metric3d", trust_repo=True, skip_validation=True, verbose=False)
            except Exception as error:  # without a network, or without what its code imports
                if not fetched.is_dir():
                    raise UserError(f"{self.key}.download: {CLONE} is out of reach: {first_line(error)}") from error
        return str(fetched) if fetched.is_dir() else None

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W] in metres: the canonical camera's depth, times our focal length over its."""
        assert self._network is not None, "Metric3D is called before it is loaded"
        height, width = rgb.shape[1:]
        scale = min(INPUT[0] / height, INPUT[1] / width)
        pixels, (top, left) = _fitted(rgb, (int(height * scale), int(width * scale)))
        answer = self._inferred(pixels.to(next(self._network.parameters()).device))
        rows, columns = int(height * scale), int(width * scale)
        zdepth = answer.float().reshape(1, 1, *INPUT)[..., top : top + rows, left : left + columns]
        zdepth = F.interpolate(zdepth, (height, width), mode="bilinear", align_corners=False)[0, 0].to(rgb.device)
        zdepth = zdepth * (camera.fx * scale / _CANONICAL_PX)
        valid = zdepth.isfinite() & (zdepth > 0) & (zdepth <= self.farthest_m)
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)

    def _inferred(self, pixels: Tensor) -> Tensor:
        """The network's depth of pixels [1, 3, *INPUT]."""
        try:
            return self._network.inference({"input": pixels})[0]
        except (AssertionError, RuntimeError) as error:
            if pixels.device.type == "cpu" and "CUDA" in str(error):
                raise UserError(
                    "runtime.device: cpu, wanted cuda: Metric3D's own code computes on a GPU alone"
                ) from error
            raise


def _fitted(rgb: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """rgb [3, H, W] in [0, 1] made `size` large, in the middle of the mean colour, normalised: [1, 3, *INPUT]; and how
    far from the top and the left it begins."""
    mean, std = (torch.tensor(values, device=rgb.device)[:, None, None] for values in (_MEAN, _STD))
    picture = F.interpolate(rgb[None] * 255, size, mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = (INPUT[0] - size[0]) // 2, (INPUT[1] - size[1]) // 2
    pixels = torch.zeros(1, 3, *INPUT, device=rgb.device)
    pixels[0, :, top : top + size[0], left : left + size[1]] = (picture - mean) / std
    return pixels, (top, left)
