"""MoGe (Wang et al., CVPR 2025; MoGe-2: NeurIPS 2025; MIT): the depth of a view, and a photo's field of view.

Version 1 gives the shape alone, up to scale; version 2 metres. Checked against `dlr-moge` 2.0.0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.focal import fov_deg
from worldgen.geometry.fov_range import check_fov
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.hub_file import HubFile
from worldgen.models.loading import one_line
from worldgen.models.protocols import DepthEstimator, FovEstimator
from worldgen.models.upstream import lacking, load_state, read_checkpoint, upstream
from worldgen.types import Fov, ViewDepth

if TYPE_CHECKING:
    from worldgen.io.photo import Photo
    from worldgen.models.runtime import Runtime
    from worldgen.types import Camera

INSTALL = "pip install --no-deps dlr-moge==2.0.0 dlr-utils3d==1.3 dlr-pipeline==1.0.0"
"""Without what else its metadata asks for: a web server and a mesh library, which its networks do not use."""


@dataclass
class _Moge(HubAdapter):
    """model: which version it is, its file says. path: that file, model.pt, or its folder. detail: 0 to 9, how finely
    the network looks; tokens: how many patches it looks at, instead, None = as detail says. Other settings: see
    HubAdapter."""

    model: str = "Ruicheng/moge-2-vitl-normal"
    size: str = "1.3 GB"
    detail: int = 9
    tokens: int | None = None
    key: str = "view_depth"
    _network: Any = field(default=None, init=False, repr=False)
    _half: bool = field(default=False, init=False, repr=False)

    packages: ClassVar[Sequence[str]] = ("dlr-moge",)

    def __post_init__(self) -> None:
        expect(f"{self.key}.detail", self.detail, self.detail in range(10), "a whole number from 0 to 9")
        fits = self.tokens is None or (isinstance(self.tokens, int) and self.tokens >= 1)
        expect(f"{self.key}.tokens", self.tokens, fits, "a whole number from 1, or null")

    @property
    def checkpoint(self) -> HubFile:
        """The checkpoint."""
        return HubFile(self.model, "model.pt", self.size, self.key, self.path, self.download)

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return lacking("moge", INSTALL)

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a file. Raises UserError where that is not here, not whole, or another thing.

        Where the runtime asks for 16 bits MoGe computes in float16 by itself, its weights staying as they are.
        """
        if self._network is not None:
            return
        modules = {version: upstream(f"moge.model.v{version}", INSTALL) for version in (1, 2)}
        file = self.checkpoint.here()
        held = read_checkpoint(file, self.key, ("model_config", "model"))
        version = 1 if isinstance(held["model_config"].get("encoder"), str) else 2
        with one_line(f"{self.key}: {file}: is no MoGe's"):
            network = modules[version].MoGeModel(**held["model_config"])
        load_state(network, held["model"], f"{self.key}: {file}")
        self._half = runtime.torch_dtype != torch.float32 and runtime.torch_device.type == "cuda"
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    def _infer(self, rgb: Tensor, **options: Any) -> dict[str, Tensor]:
        """MoGe's own dictionary, on rgb's device."""
        assert self._network is not None, f"{type(self).__name__} is called before it is loaded"
        finely = {"resolution_level": self.detail, "num_tokens": self.tokens, "use_fp16": self._half}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on a CPU it asks for an autocast that there is not
            found = self._network.infer(rgb.clamp(0, 1), **finely, **options)
        return {name: value.to(rgb.device) for name, value in found.items()}


@dataclass
class MogeDepth(_Moge, DepthEstimator):
    """Fulfils DepthEstimator. MoGe is told the camera's field of view, so that views of one panorama agree.

    What its mask leaves out, the sky above all, is not valid.
    """

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W], inf where it is not valid: metres by version 2, up to scale by version 1."""
        zdepth = self._infer(rgb, fov_x=camera.fov_deg)["depth"].float()
        valid = zdepth.isfinite() & (zdepth > 0)
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)


@dataclass
class MogeFov(_Moge, FovEstimator):
    """Fulfils FovEstimator, by the robust focal length of MoGe's points as they are."""

    key: str = "fov"

    def __call__(self, photo: Photo) -> Fov:
        """Raises UserError where the points are those of no camera."""
        points = self._infer(photo.rgb, force_projection=False)["points"]
        return Fov(check_fov(fov_deg(points), "fov"), f"MoGe ({self.named})")
