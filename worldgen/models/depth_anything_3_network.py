"""The networks of Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): loaded and asked.

Checked against `depth-anything-3` 0.1.1. They are built from the package's presets, as its README shows, and not by its
API, which imports a video editor and a server's parts, rounds pictures to 8 bits and computes in 16 wherever it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
from abc import abstractmethod
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
from worldgen.models.upstream import lacking, load_state, upstream

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

INSTALL = "pip install --no-deps depth-anything-3==0.1.1 && pip install addict einops"
"""Without what else its metadata asks for, numpy below 2 among it, which its networks do not use."""

OF_MANY_VIEWS = ("da3-small", "da3-base", "da3-large", "da3-giant")
METRIC = "da3metric-large"
PRESETS = (*OF_MANY_VIEWS, "da3mono-large", METRIC)
PATCH = 14
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass
class DepthAnything3Network(HubAdapter):
    """What the adapters share. longest_px: of a view's sides as the network sees it. Other settings: see HubAdapter."""

    longest_px: int = 504
    key: str = ""
    _network: Any = field(default=None, init=False, repr=False)
    _preset: str = field(default="", init=False, repr=False)
    _dtype: torch.dtype = field(default=torch.float32, init=False, repr=False)

    packages: ClassVar[Sequence[str]] = ("depth-anything-3",)
    without: ClassVar[Sequence[str]] = ()
    """Parts of the network that are not asked."""

    def __post_init__(self) -> None:
        fits = self.longest_px >= PATCH and self.longest_px % PATCH == 0
        expect(f"{self.key}.longest_px", self.longest_px, fits, f"a multiple of {PATCH}")

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        lacks = (lacking(module, INSTALL) for module in ("depth_anything_3", "addict", "einops"))
        return next(filter(None, lacks), None)

    @abstractmethod
    def expect_preset(self, preset: str, where: str) -> None:
        """Raises UserError unless a network of that preset, in the folder that `where` names, will do."""

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not here, not whole, or another thing.

        Where the runtime asks for 16 bits the transformer alone computes in them, its weights staying as they are.
        """
        if self._network is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        folder = self.checkpoint.folder()
        preset = _preset_of(folder, self.key)
        self.expect_preset(preset, f"{self.key}: {folder}")
        network = _built(preset, self.without)
        file = folder / "model.safetensors"
        load_state(network, _weights(file, self.key), f"{self.key}: {file}")
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)
        self._preset, self._dtype = preset, runtime.torch_dtype

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    def answer(self, pixels: Tensor) -> Any:
        """What the network finds in views of one scene, pixels [N, 3, h, w]."""
        assert self._network is not None, f"{type(self).__name__} is called before it is loaded"
        device = next(self._network.parameters()).device
        quiet = contextlib.redirect_stdout(io.StringIO())  # it tells which of several views it takes for the first
        with quiet, torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            return self._network(pixels[None].to(device), export_feat_layers=[])


def _preset_of(folder: Path, key: str) -> str:
    """Which network a folder holds, by its config.json; where that is silent, upstream's default. Raises UserError."""
    try:
        preset = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_name", "da3-large")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{key}: {folder}: config.json cannot be read") from error
    expect(f"{key}: {folder}: model_name", preset, preset in PRESETS, f"one of {', '.join(PRESETS)}")
    return str(preset)


def size_seen(height: int, width: int, longest_px: int) -> tuple[int, int]:
    """Pixels that the network sees of a view, height and width: each side the nearest multiple of a patch, as upstream
    rounds."""
    scale = longest_px / max(height, width)
    rows, columns = (max(PATCH, (round(side * scale) + PATCH // 2) // PATCH * PATCH) for side in (height, width))
    return rows, columns


def normalised(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """rgb [N, 3, H, W] in [0, 1] made `size` large, as ImageNet's mean and deviation: [N, 3, *size]."""
    if tuple(rgb.shape[2:]) != size:
        rgb = F.interpolate(rgb, size, mode="bicubic", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values, device=rgb.device)[:, None, None] for values in (_MEAN, _STD))
    return (rgb.clamp(0, 1) - mean) / std


def _built(preset: str, without: Sequence[str]) -> Any:
    """The network with random weights, on the CPU; its code tells what it does, which is nobody's concern here.

    Its package lets configs of any program run Python (`${eval:...}`); its presets do without, and so do we.
    """
    known = OmegaConf.has_resolver("eval")
    with contextlib.redirect_stdout(io.StringIO()):
        upstream("depth_anything_3.model.da3", INSTALL)
        configs, registry = upstream("depth_anything_3.cfg", INSTALL), upstream("depth_anything_3.registry", INSTALL)
        config = configs.load_config(registry.MODEL_REGISTRY[preset])
        for part in without:
            config.pop(part, None)
        network = configs.create_object(config)
    if not known:
        OmegaConf.clear_resolver("eval")
    return network


def _weights(file: Path, key: str) -> dict[str, Tensor]:
    """By the network's names: in the file they are those of the API's class, which holds it as `model`."""
    with one_line(f"{key}: {file}: cannot be read as weights"):
        return {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}
