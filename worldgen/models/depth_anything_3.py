"""Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): the depth of a view.

DA3METRIC answers metres and knows the sky, DA3MONO the shape and the sky, the others the shape alone. Checked against
`depth-anything-3` 0.1.1. The network is built from the package's presets, as its README shows, and not by its API,
which imports a video editor and a server's parts, rounds pictures to 8 bits and computes in 16 wherever it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.loading import one_line
from worldgen.models.protocols import DepthEstimator
from worldgen.models.upstream import lacking, load_state, upstream
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime
    from worldgen.types import Camera

INSTALL = "pip install --no-deps depth-anything-3==0.1.1 && pip install addict einops"
"""Without what else its metadata asks for, numpy below 2 among it, which its networks do not use."""

PRESETS = ("da3-small", "da3-base", "da3-large", "da3-giant", "da3mono-large", "da3metric-large")
_METRIC = "da3metric-large"
_OF_MANY_VIEWS = ("cam_enc", "cam_dec", "gs_head", "gs_adapter")  # parts that the depth of one view does not ask
_PATCH = 14
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_CANONICAL_PX = 300.0  # focal length, in pixels that the network sees, at which its answer is in metres
_SKY = 0.3  # from here on the network itself takes a pixel for sky, and overwrites its depth


@dataclass
class DepthAnything3(HubAdapter, DepthEstimator):
    """Fulfils DepthEstimator. What the network takes for sky is not valid.

    model: which network it is, its config.json says. longest_px: of the view's sides as the network sees it. metres:
    whether only a network that answers metres will do. Other settings: see HubAdapter.
    """

    model: str = "depth-anything/DA3-SMALL"
    size: str = "0.1 GB"
    longest_px: int = 504
    metres: bool = False
    key: str = "view_depth"
    _network: Any = field(default=None, init=False, repr=False)
    _metric: bool = field(default=False, init=False, repr=False)
    _dtype: torch.dtype = field(default=torch.float32, init=False, repr=False)

    packages: ClassVar[Sequence[str]] = ("depth-anything-3",)

    def __post_init__(self) -> None:
        fits = self.longest_px >= _PATCH and self.longest_px % _PATCH == 0
        expect(f"{self.key}.longest_px", self.longest_px, fits, f"a multiple of {_PATCH}")

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        lacks = (lacking(module, INSTALL) for module in ("depth_anything_3", "addict", "einops"))
        return next(filter(None, lacks), None)

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not here, not whole, or another thing.

        Where the runtime asks for 16 bits the transformer alone computes in them, its weights staying as they are.
        """
        if self._network is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        folder = self.checkpoint.folder()
        preset = self._preset(folder)
        network = _built(preset)
        file = folder / "model.safetensors"
        load_state(network, _weights(file, self.key), f"{self.key}: {file}")
        self._metric, self._dtype = preset == _METRIC, runtime.torch_dtype
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W], inf where it is not valid: metres by DA3METRIC, else up to scale."""
        assert self._network is not None, "DepthAnything3 is called before it is loaded"
        height, width = rgb.shape[1:]
        rows, columns = size = _seen(height, width, self.longest_px)
        zdepth, there = (each.to(rgb.device) for each in self._answer(_normalised(rgb, size)))
        if self._metric:
            zdepth = zdepth * ((camera.fx * columns / width + camera.fy * rows / height) / 2 / _CANONICAL_PX)
        zdepth, valid = _enlarged(zdepth, there, (height, width))
        valid &= zdepth.isfinite() & (zdepth > 0)
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)

    def _answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [3, h, w] as the network wants them -> depth [h, w], and where it is not the sky's, bool [h, w]."""
        device = next(self._network.parameters()).device
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            found = self._network(pixels[None, None].to(device), export_feat_layers=[])
        depth = found["depth"].float().reshape(pixels.shape[1:])
        sky = found.get("sky")
        there = torch.ones_like(depth, dtype=torch.bool) if sky is None else sky.reshape(depth.shape) < _SKY
        return depth, there

    def _preset(self, folder: Path) -> str:
        """Which network a folder holds, by its config.json; where that is silent, upstream's default."""
        try:
            preset = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_name", "da3-large")
        except (ValueError, AttributeError) as error:
            raise UserError(f"{self.key}: {folder}: config.json cannot be read") from error
        expect(f"{self.key}: {folder}: model_name", preset, preset in PRESETS, f"one of {', '.join(PRESETS)}")
        fits = preset == _METRIC or not self.metres
        expect(
            f"{self.key}: {folder}", f"{preset}, which knows no metres", fits, f"{_METRIC}, or {self.key}.metres=false"
        )
        return str(preset)


def _built(preset: str) -> Any:
    """The network with random weights, on the CPU; its code tells what it does, which is nobody's concern here.

    Its package lets configs of any program run Python (`${eval:...}`); its presets do without, and so do we.
    """
    known = OmegaConf.has_resolver("eval")
    with contextlib.redirect_stdout(io.StringIO()):
        upstream("depth_anything_3.model.da3", INSTALL)
        configs, registry = upstream("depth_anything_3.cfg", INSTALL), upstream("depth_anything_3.registry", INSTALL)
        config = configs.load_config(registry.MODEL_REGISTRY[preset])
        for part in _OF_MANY_VIEWS:
            config.pop(part, None)
        network = configs.create_object(config)
    if not known:
        OmegaConf.clear_resolver("eval")
    return network


def _weights(file: Path, key: str) -> dict[str, Tensor]:
    """By the network's names: in the file they are those of the API's class, which holds it as `model`."""
    with one_line(f"{key}: {file}: cannot be read as weights"):
        return {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}


def _seen(height: int, width: int, longest_px: int) -> tuple[int, int]:
    """Pixels that the network sees of a view, height and width: each side the nearest multiple of a patch, as upstream
    rounds."""
    scale = longest_px / max(height, width)
    rows, columns = (max(_PATCH, (round(side * scale) + _PATCH // 2) // _PATCH * _PATCH) for side in (height, width))
    return rows, columns


def _normalised(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """rgb [3, H, W] in [0, 1] made `size` large, as ImageNet's mean and deviation: [3, *size]."""
    if tuple(rgb.shape[1:]) != size:
        rgb = F.interpolate(rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
    mean, std = (torch.tensor(values, device=rgb.device)[:, None, None] for values in (_MEAN, _STD))
    return (rgb.clamp(0, 1) - mean) / std


def _enlarged(zdepth: Tensor, there: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """zdepth [h, w] and where it counts, bool [h, w], at another size: what does not count has no part in the rest."""
    both = torch.stack([torch.where(there, zdepth, 0.0), there.float()])[None]
    summed, share = F.interpolate(both, size, mode="bilinear", align_corners=False)[0]
    valid = share >= 0.5
    return torch.where(valid, summed / share.clamp(min=0.5), torch.inf), valid
