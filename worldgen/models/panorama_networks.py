"""Networks that take a whole panorama in and need no merging: DA360 and DAP, by their authors' code from a checkout.

What they answer becomes a panorama's distances in `recipe/native_depth.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.hub_file import HubFile
from worldgen.models.protocols import Lifetime
from worldgen.models.upstream import checkout, load_state, read_checkpoint
from worldgen.paths import user_path

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime


@dataclass
class PanoramaNetwork(ABC, Lifetime):
    """checkout: a folder with the authors' repository. path: the file of weights on this machine."""

    checkout: str | None = None
    path: str | None = None
    _network: Any = field(default=None, init=False, repr=False)

    metric: ClassVar[bool]
    """Whether it answers metres; else the common scale is anybody's."""
    clone: ClassVar[str]
    holds: ClassVar[str]

    @abstractmethod
    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [3, H, 2H] in [0, 1] -> distance along the ray [h, 2h], and where it is valid (not sky), bool [h, 2h]; at
        the network's own size, on rgb's device."""

    @abstractmethod
    def build(self, root: Path) -> Any:
        """The network with its weights, on the CPU, while modules of the checkout `root` can be imported."""

    @property
    @abstractmethod
    def weights(self) -> Sequence[HubFile]:
        """What is loaded from the hub."""

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it can, as far as that is seen without loading it."""
        try:
            with self._code():
                return self._lacks_weights()
        except UserError as error:
            return str(error)

    @abstractmethod
    def _lacks_weights(self) -> str | None:
        """Why the weights cannot be loaded; None where they can."""

    def _code(self) -> AbstractContextManager[Path]:
        return checkout(self.checkout, "depth.network.checkout", self.clone, self.holds)

    def load(self, runtime: Runtime) -> None:
        """Raises UserError where the authors' code, a library that it needs, or the weights are not here."""
        if self._network is not None:
            return
        with (
            self._code() as root,
            contextlib.redirect_stdout(io.StringIO()),  # their code tells what it does
        ):
            network = self.build(root)
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    @torch.inference_mode()
    def answer(self, rgb: Tensor, size: tuple[int, int], mean: Tensor | None = None, std: Tensor | None = None) -> Any:
        """The network's dictionary for rgb [3, H, W] reduced to `size`, normalised by mean and std [3, 1, 1] if any."""
        assert self._network is not None, f"{type(self).__name__} is called before it is loaded"
        small = F.interpolate(rgb[None], size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if mean is not None and std is not None:
            small = (small - mean.to(small.device)) / std.to(small.device)
        return self._network(small.to(next(self._network.parameters()).device))


@dataclass
class Da360(PanoramaNetwork):
    """DA360 (Jiang et al., 2025; MIT): distances up to one scale, with circular padding; it knows no sky.

    Checked against Insta360-Research-Team/DA360 at 93dd3fc. path: DA360_small.pth, _base or _large, from its README.
    """

    metric: ClassVar[bool] = False
    clone: ClassVar[str] = "git clone https://github.com/Insta360-Research-Team/DA360"
    holds: ClassVar[str] = "networks/da360.py"

    @property
    def weights(self) -> Sequence[HubFile]:
        """None: they are not the hub's."""
        return ()

    def _lacks_weights(self) -> str | None:
        if self.path is not None and user_path(self.path).is_file():
            return None
        found = "null" if self.path is None else self.path
        return f"depth.network.path: {found}, wanted DA360's file of weights; its README says where it is"

    def build(self, root: Path) -> Any:
        """See PanoramaNetwork. The file says which size it is of."""
        del root
        if reason := self._lacks_weights():
            raise UserError(reason)
        file = user_path(str(self.path))
        held = read_checkpoint(file, "depth.network")
        self._size = int(held.get("height", 518)), int(held.get("width", 1036))
        kind = importlib.import_module("networks").DA360
        network = kind(*self._size, dinov2_encoder=held.get("dinov2_encoder", "vits"))
        load_state(network, held, f"depth.network: {file}")
        return network

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """See PanoramaNetwork: rgb [3, H, 2H] -> [h, 2h], [h, 2h]."""
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        nearness = self.answer(rgb, self._size, mean[:, None, None], std[:, None, None])["pred_disp"]
        nearness = nearness.float().reshape(self._size).to(rgb.device)
        valid = nearness.isfinite() & (nearness > 0)
        return torch.where(valid, 1 / nearness, torch.inf), valid


@dataclass
class Dap(PanoramaNetwork):
    """DAP (Insta360, 2025; MIT, its DINOv3 parts under Meta's DINOv3 licence): metres up to 100, and a mask of the sky.

    Checked against Insta360-Research-Team/DAP at 67cad19. Its decoder answers shares of 100 m. path: model.pth or its
    folder, instead of the local hub cache. download: whether it may be fetched where it is missing.
    """

    download: bool = False
    rows: int = 512

    metric: ClassVar[bool] = True
    clone: ClassVar[str] = "git clone https://github.com/Insta360-Research-Team/DAP"
    holds: ClassVar[str] = "networks/models.py"
    _UNIT_M: ClassVar[float] = 100.0

    def __post_init__(self) -> None:
        fits = self.rows >= 16 and self.rows % 16 == 0
        expect("depth.network.rows", self.rows, fits, "a multiple of 16")

    @property
    def weights(self) -> Sequence[HubFile]:
        """Its file."""
        file = HubFile("Insta360-Research/DAP-weights", "model.pth", "", "depth.network", self.path, self.download)
        return (file,)

    def _lacks_weights(self) -> str | None:
        return self.weights[0].unavailable()

    def build(self, root: Path) -> Any:
        """See PanoramaNetwork."""
        file = self.weights[0].here().resolve()
        arguments = {"midas_model_type": "vitl", "fine_tune_type": "hypersim", "min_depth": 0.01, "max_depth": 1.0}
        with contextlib.chdir(root):  # it looks for its backbone's code from there
            importlib.import_module("networks")
            make = importlib.import_module("networks.models").make
            network = make({"name": "dap", "args": arguments | {"train_decoder": True}})
        state = {name.removeprefix("module."): value for name, value in read_checkpoint(file, "depth.network").items()}
        load_state(network, state, f"depth.network: {file}")
        return network

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """See PanoramaNetwork: rgb [3, H, 2H] -> [h, 2h], [h, 2h]."""
        size = self.rows, 2 * self.rows
        found = self.answer(rgb, size)
        distance = found["pred_depth"].float().reshape(size).to(rgb.device) * self._UNIT_M
        sky = found["pred_mask"].float().reshape(size).to(rgb.device) >= 0.5
        valid = ~sky & distance.isfinite() & (distance > 0)
        return torch.where(valid, distance, torch.inf), valid
