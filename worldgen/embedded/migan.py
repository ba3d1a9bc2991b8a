"""MI-GAN: the small inpainting network of the embedded profile (Sargsyan et al., ICCV 2023).

The published pipeline file takes uint8 `image` 1x3xHxW and `mask` 1x1xHxW (255 = known), crops the neighbourhood of
the hole, works at 512x512 inside and pastes the result back. It costs the same whatever the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldgen.embedded.onnx_network import OnnxNetwork
from worldgen.errors import expect
from worldgen.geometry.fill import erode, push_pull
from worldgen.models import assets
from worldgen.models.protocols import REPAINTED_PX
from worldgen.types import Prompt

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime


@dataclass
class MiganInpainter:
    """Fulfils Inpainter. Takes no prompt and has no randomness; loads at the first call if nobody did before.

    threads: CPU threads, 0 = all that this process may use.
    margin_px: known pixels this close to a hole are shown to the network as part of the hole, because what lies in
        the hole shines through the network's own resampling. Their colours in the answer are the network's.
    """

    threads: int = 0
    margin_px: int = 3
    _loaded: OnnxNetwork | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        expect("inpainter.threads", self.threads, self.threads >= 0, "0 (all) or more")
        expect("inpainter.margin_px", self.margin_px, 0 <= self.margin_px <= REPAINTED_PX, f"0 to {REPAINTED_PX}")

    def load(self, runtime: Runtime) -> None:
        """Onto the processor, whatever `runtime` says: the file is slower to move than to run."""
        del runtime
        self._network()

    def release(self) -> None:
        """Frees the network's memory."""
        self._loaded = None

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """rgb [B, 3, H, W], known [B, H, W] in [0, 1] -> [B, 3, H, W]; the network takes one picture at a time."""
        del prompts, seeds
        return torch.stack([self._painted(*pair) for pair in zip(rgb, known, strict=True)])

    def _painted(self, rgb: Tensor, known: Tensor) -> Tensor:
        """rgb [3, H, W], known [H, W] -> [3, H, W]."""
        kept = known >= 1
        if bool(kept.all()):
            return _eight_bits(rgb) / 255
        shown = erode(kept, self.margin_px)
        if not bool(shown.any()):
            shown = kept
        image = _eight_bits(push_pull(rgb, known))
        mask = shown.to(torch.uint8) * 255
        answer = self._network()(image[None].to(torch.uint8).numpy(), mask[None, None].numpy())
        painted = torch.from_numpy(answer)[0].to(torch.float32)
        # Its mask is blurred inside: what it was shown comes back as it was, and a soft border is half of each.
        share = torch.where(kept, shown.float(), known)
        return (share * image + (1 - share) * painted).round() / 255

    def _network(self) -> OnnxNetwork:
        if self._loaded is None:
            self._loaded = OnnxNetwork(assets.fetch("migan"), self.threads)
        return self._loaded


def _eight_bits(rgb: Tensor) -> Tensor:
    """[...] in [0, 1] to whole numbers from 0 to 255, still float32."""
    return (rgb.clamp(0, 1) * 255).round()
