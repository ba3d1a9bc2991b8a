"""Diffusion by a network that was trained on whole panoramas, such as DiT360 (arXiv 2510.11712): `panorama=native`.

It paints round the photo as any text-to-image checkpoint fills holes here: after each step what is known, with as much
noise as that step leaves, takes its place again. DiT360's own outpainting inverts the picture to noise and hands the
photo's tokens to the attention of the first steps (RF-Inversion, Personalize Anything); what it shares with this are
network, LoRA, size, guidance, and the columns that it sees twice (`circular.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from worldgen.errors import expect
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.protocols import Inpainting
from worldgen.types import Prompt


@dataclass
class PanoramaPainter(DiffusionInpainter):
    """Fulfils RoundInpainter; every picture that it is shown is a whole panorama. Settings: see DiffusionInpainter.

    panorama_width: of the pictures that it was trained on, pixels; others are painted at that width, too, and brought
    to theirs. prompt: what it is told, with {} in the scene's place: it was trained on texts that begin so.
    """

    prompt: str = "{}"
    circular: bool = field(default=True, init=False)

    key: str = field(default="panorama.painter", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(f"{self.key}.prompt", self.prompt, self.prompt.count("{}") == 1, "{} once, in the scene's place")

    @property
    def around(self) -> Inpainting:
        """Itself; see `protocols.RoundInpainter`."""
        return self

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """Panoramas [B, 3, H, 2 H], known [B, H, 2 H] in [0, 1] -> [B, 3, H, 2 H]."""
        told = [prompt._replace(text=self.prompt.replace("{}", prompt.text)) for prompt in prompts]
        return self._around(rgb, known, told, seeds)

    def _painted_width(self, width: int) -> int:
        return self.panorama_width
