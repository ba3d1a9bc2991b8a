"""MI-GAN: the small inpainting network of the embedded profile (Sargsyan et al., ICCV 2023), on ONNX Runtime.

The published pipeline file takes uint8 `image` 1x3xHxW and `mask` 1x1xHxW (255 = known), crops the neighbourhood of
the hole, works at 512x512 inside and pastes the result back. It costs the same whatever the size.
"""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.fill import erode, push_pull
from worldgen.models import assets


@dataclass
class MiganInpainter:
    """Fulfils `worldgen.models.protocols.Inpainter`. Takes no prompt and has no randomness; loads at the first call.

    threads: CPU threads, 0 = all that this process may use.
    margin_px: known pixels this close to a hole are shown to the network as part of the hole, because what lies in
        the hole shines through the network's own resampling.
    """

    threads: int = 0
    margin_px: int = 3
    _session: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise UserError(f"inpainter.threads: {self.threads}, wanted 0 (all) or more")
        if not 0 <= self.margin_px <= 32:
            raise UserError(f"inpainter.margin_px: {self.margin_px}, wanted 0 to 32")

    def __call__(self, rgb: Tensor, known: Tensor, prompt: str = "", seed: int = 0) -> Tensor:
        """rgb [3, H, W], known bool [H, W] -> [3, H, W]. Known pixels come back unchanged beyond `margin_px`."""
        del prompt, seed
        if bool(known.all()):
            return rgb
        shown = erode(known, self.margin_px)
        if not bool(shown.any()):
            shown = known
        filled = push_pull(rgb, known)
        image = (filled.clamp(0, 1) * 255).round().to(torch.uint8)
        mask = shown.to(torch.uint8) * 255
        painted = self._network().run(None, {"image": image[None].numpy(), "mask": mask[None, None].numpy()})[0]
        painted = torch.from_numpy(painted)[0].to(torch.float32) / 255
        # Eight bits and a blurred mask are the network's business: what it was shown stays as it was.
        return torch.where(shown, rgb, painted)

    def _network(self) -> Any:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads or len(os.sched_getaffinity(0))
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            options.enable_cpu_mem_arena = False
            self._session = onnxruntime.InferenceSession(
                str(assets.fetch("migan")), options, providers=["CPUExecutionProvider"]
            )
        return self._session
