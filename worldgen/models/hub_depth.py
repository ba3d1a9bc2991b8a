"""What the depth networks of transformers have in common: a folder in the hub's layout, loaded whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.hub import load_whole, missing_package
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.loading import one_line, quiet_transformers
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime


@dataclass
class HubDepth(HubAdapter):
    """Settings: see HubAdapter. farthest_m: what is farther is sky, or might as well be, and not valid; None = all is
    valid."""

    farthest_m: float | None = None
    key: str = "view_depth"
    _network: Any = field(default=None, init=False, repr=False)
    _processor: Any = field(default=None, init=False, repr=False)

    packages: ClassVar[Sequence[str]] = ("transformers",)

    def __post_init__(self) -> None:
        fits = self.farthest_m is None or self.farthest_m > 0
        expect(f"{self.key}.farthest_m", self.farthest_m, fits, "more than 0, or null")

    @staticmethod
    @abstractmethod
    def network_class() -> Any:
        """Of transformers."""

    @abstractmethod
    def expect_fit(self, config: Any, folder: str) -> None:
        """Raises UserError where a checkpoint of that class is not made for what the adapter does."""

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return missing_package("transformers", "torchvision", extra="paper,eval")

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not here, not whole, or another thing."""
        if self._network is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        folder = self.checkpoint.folder()
        from transformers import AutoConfig, AutoImageProcessor

        with quiet_transformers(), one_line(f"{self.key}: {folder}: cannot be loaded"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            kind = self.network_class()
            wanted, found = kind.config_class.model_type, config.model_type
            expect(f"{self.key}: {folder}", f"a checkpoint of {found}", found == wanted, f"one of {wanted}")
            self.expect_fit(config, f"{self.key}: {folder}")
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            network = load_whole(kind, folder, dtype=runtime.torch_dtype)
        self._network = network.eval().requires_grad_(False).to(runtime.torch_device)
        self._processor = processor

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = self._processor = None

    @torch.inference_mode()
    def answer(self, rgb: Tensor) -> Any:
        """transformers' output for rgb [3, H, W] in [0, 1], of whatever size the processor gives the network."""
        assert self._network is not None, f"{type(self).__name__} is called before it is loaded"
        pixels = self._processor(images=rgb.clamp(0, 1), do_rescale=False, return_tensors="pt")["pixel_values"]
        return self._network(pixel_values=pixels.to(self._network.device, self._network.dtype))

    def view_depth(self, zdepth: Tensor) -> ViewDepth:
        """zdepth [H, W] in metres, with what is too far or no number marked as not valid."""
        valid = zdepth.isfinite() & (zdepth > 0)
        if self.farthest_m is not None:
            valid &= zdepth <= self.farthest_m
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)
