"""DUSt3R (Wang et al., CVPR 2024): a photo's field of view, as in the paper.

Code and weights are CC BY-NC-SA 4.0: not for commercial use. Checked against `mini-dust3r` 0.1.2, which is
naver/dust3r's inference, and naver/dust3r at 4c24a6e.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.focal import fov_deg
from worldgen.geometry.fov_range import check_fov
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.loading import one_line
from worldgen.models.protocols import FovEstimator
from worldgen.models.upstream import checkout, lacking, upstream
from worldgen.types import Fov

if TYPE_CHECKING:
    from worldgen.io.photo import Photo
    from worldgen.models.runtime import Runtime

INSTALL = "pip install --no-deps mini-dust3r==0.1.2 && pip install beartype jaxtyping einops"
CLONE = "git clone --recursive https://github.com/naver/dust3r"
_PATCH = 16


@dataclass
class Dust3rFov(HubAdapter, FovEstimator):
    """Fulfils FovEstimator: the photo is paired with itself, and the camera is the one that sees the points so.

    checkout: a folder with the authors' repository, None = the package mini-dust3r. longest_px: of the photo's sides as
    the network sees it. Other settings: see HubAdapter.
    """

    model: str = "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt"
    size: str = "2.3 GB"
    key: str = field(default="fov", init=False)
    checkout: str | None = None
    longest_px: int = 512
    _network: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        fits = self.longest_px >= _PATCH and self.longest_px % _PATCH == 0
        expect("fov.longest_px", self.longest_px, fits, f"a multiple of {_PATCH}")

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return lacking("mini_dust3r", INSTALL) if self.checkout is None else None

    def load(self, runtime: Runtime) -> None:
        """Raises UserError where the authors' code, a library that it needs, or the weights are not here."""
        if self._network is not None:
            return
        code = (
            contextlib.nullcontext()
            if self.checkout is None
            else checkout(self.checkout, "fov.checkout", CLONE, "dust3r/model.py")
        )
        with code, contextlib.redirect_stdout(io.StringIO()):  # its code tells what it does
            if self.checkout is None:
                kind = upstream("mini_dust3r.model", INSTALL).AsymmetricCroCo3DStereo
            else:
                kind = importlib.import_module("dust3r.model").AsymmetricCroCo3DStereo
            folder = self.checkpoint.folder()
            with one_line(f"fov: {folder}: is no DUSt3R's"):
                network = kind.from_pretrained(str(folder))
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    @torch.inference_mode()
    def __call__(self, photo: Photo) -> Fov:
        """Raises UserError where the points are those of no camera."""
        assert self._network is not None, "Dust3rFov is called before it is loaded"
        pixels, share = _cropped(photo.rgb, self.longest_px)
        device = next(self._network.parameters()).device
        view = {
            "img": (pixels[None] * 2 - 1).to(device),
            "true_shape": torch.tensor([pixels.shape[1:]]),
            "idx": [0],
            "instance": ["0"],
        }
        first, _ = self._network(view, view | {"idx": [1], "instance": ["1"]})
        cropped = fov_deg(first["pts3d"][0].float(), first["conf"][0].float())
        half = torch.tan(torch.deg2rad(torch.tensor(cropped / 2, dtype=torch.float64))) / share
        deg = float(2 * torch.rad2deg(torch.atan(half)))
        return Fov(check_fov(deg, "fov"), f"DUSt3R ({self.named})")


def _cropped(rgb: Tensor, longest_px: int) -> tuple[Tensor, float]:
    """rgb [3, H, W] with its longer side `longest_px` and both cut, around the middle, to multiples of a patch; and the
    share of the width that is left."""
    height, width = rgb.shape[1:]
    scale = longest_px / max(height, width)
    size = max(_PATCH, round(height * scale)), max(_PATCH, round(width * scale))
    small = F.interpolate(rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    rows, columns = (side // _PATCH * _PATCH for side in size)
    if rows == columns:  # it has seen no square ones
        rows = max(_PATCH, rows * 3 // 4 // _PATCH * _PATCH)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    return small[:, top : top + rows, left : left + columns], columns / size[1]
