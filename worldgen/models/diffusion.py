"""Diffusion over diffusers' pipelines: holes filled, and pictures painted anew from near where they are.

Any checkpoint whose pipeline takes a mask (SDXL, Stable Diffusion, FLUX.1 Fill, Qwen-Image, Z-Image, ...) fills holes;
any whose pipeline starts from a picture refines (arXiv 2503.16611, "Panorama synthesis" and "Refinement").
"""

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.equirect import directions, pad, sample
from worldgen.geometry.fill import erode, push_pull
from worldgen.models.circular import takes_places, wrapped
from worldgen.models.pipelines import HubPipeline, batches, denoiser, eight_bits, padded, size_factor
from worldgen.models.protocols import REPAINTED_PX, ImageToImage, Inpainter, Inpainting
from worldgen.types import Prompt


@dataclass
class DiffusionInpainter(HubPipeline, Inpainter):
    """Fulfils Inpainter with an inpainting pipeline; what all pipelines have: see HubPipeline.

    strength: the part of the denoising that is done, 1 = from noise alone. margin_px: known pixels this close to a hole
    are painted again, so that its border is the network's own; what comes back there is the network's colour. circular:
    whole panoramas are painted in one call as closed circles, by networks that see across their edges.
    panorama_width: of such a picture at most, pixels; larger ones are enlarged from it. working_px: of the longer side
    of what the network is shown, at most; larger pictures are shrunk for it, and what it paints is enlarged. None = as
    they come.
    """

    strength: float = 1.0
    margin_px: int = REPAINTED_PX
    circular: bool = False
    panorama_width: int = 2048
    working_px: int | None = None

    key: str = field(default="inpainter", init=False)
    auto: ClassVar[str] = "AutoPipelineForInpainting"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(f"{self.key}.strength", self.strength, 0 < self.strength <= 1, "more than 0 and at most 1")
        expect(f"{self.key}.margin_px", self.margin_px, 0 <= self.margin_px <= REPAINTED_PX, f"0 to {REPAINTED_PX}")
        expect(f"{self.key}.panorama_width", self.panorama_width, self.panorama_width >= 256, "256 or more")
        fits = self.working_px is None or self.working_px >= 32
        expect(f"{self.key}.working_px", self.working_px, fits, "32 or more, or null for pictures as they come")

    @staticmethod
    def fits(arguments: Set[str]) -> bool:
        """See HubPipeline."""
        return "mask_image" in arguments and "control_image" not in arguments

    def expect_fit(self, pipe: Any) -> None:
        """See HubPipeline."""
        unet = getattr(pipe, "unet", None)
        name = type(pipe).__name__
        fits = not self.circular or unet is not None or takes_places(denoiser(pipe))
        expect(f"{self.key}.circular", self.circular, fits, f"false: {name} cannot wrap")
        if unet is not None:
            channels, latents = unet.config.in_channels, pipe.vae.config.latent_channels
            fits = channels in (latents, 2 * latents + 1)
            wanted = f"{2 * latents + 1} (inpainting) or {latents}"
            expect(self.key, f"a network of {channels} channels", fits, wanted)

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """rgb [B, 3, H, W], known [B, H, W] in [0, 1] -> [B, 3, H, W]."""
        return self.fill(rgb, known, prompts, seeds)

    @property
    def around(self) -> Inpainting | None:
        """Paints whole panoramas, of which the left and right edge meet; see `protocols.Inpainting`."""
        return self._around if self.circular else None

    def fill(
        self,
        rgb: Tensor,
        known: Tensor,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        pipe: Any = None,
        condition: Callable[[Tensor, Tensor], Tensor] | None = None,
        behind: Callable[[Tensor, Tensor], Tensor] = push_pull,
        as_painted: bool = False,
        **options: Any,
    ) -> Tensor:
        """What `__call__` does, by another pipeline of the same parts: with a ControlNet's `condition` [B, C, H, W] of
        the rgb and known that the network is shown, and more arguments of its call. behind: what lies in holes before
        they are painted, of [3, H, W] and [H, W]. as_painted: known pixels, too, are the network's own, where there are
        holes.
        """
        answer = eight_bits(rgb)
        with_holes = [number for number in range(len(rgb)) if bool((known[number] < 1).any())]
        for chosen in batches(with_holes, self.runtime.batch):
            there = rgb[chosen], known[chosen]
            small, kept = self._at_work(*there)
            margin_px = math.ceil(self.margin_px * small.shape[-1] / rgb.shape[-1])
            shown = torch.stack([self.shown(one, margin_px) for one in kept])
            filled = torch.stack([behind(*pair) for pair in zip(small, kept, strict=True)]).clamp(0, 1)
            if condition is not None:
                options["control_image"] = condition(small, kept)
            asked = [prompts[number] for number in chosen], [seeds[number] for number in chosen]
            painted = self._painted(pipe or self.pipe, filled, 1 - shown, asked, options).to(rgb)
            if small.shape != there[0].shape:
                painted = F.interpolate(painted, rgb.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
                shown = torch.stack([self.shown(one) for one in there[1]])
            if as_painted:
                answer[chosen] = eight_bits(painted)
                continue
            # Known pixels within the margin keep the network's colour: it tells the recipe how its colours are off.
            share = torch.where(there[1] >= 1, shown, there[1])[:, None]
            answer[chosen] = eight_bits(share * answer[chosen] + (1 - share) * painted)
        return answer

    def _at_work(self, rgb: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W], [B, H, W], no larger than the network works at. A pixel is known where most of it is, and has
        the colour of that."""
        longest = max(rgb.shape[-2:])
        if self.working_px is None or longest <= self.working_px:
            return rgb, known
        size = [max(1, round(side * self.working_px / longest)) for side in rgb.shape[-2:]]
        both = F.interpolate(torch.cat([rgb * known[:, None], known[:, None]], dim=1), size, mode="area")
        share = both[:, 3:]
        return both[:, :3] / share.clamp(min=1e-6), (share[:, 0] > 0.5).to(known)

    def shown(self, known: Tensor, margin_px: int | None = None) -> Tensor:
        """[H, W] to 1 where the network sees the picture, less the margin (None = its own); 0 where it paints."""
        kept = known >= 1
        shown = erode(kept, self.margin_px if margin_px is None else margin_px)
        return (shown if bool(shown.any()) else kept).float()

    def _painted(
        self, pipe: Any, rgb: Tensor, holes: Tensor, asked: tuple[list[Prompt], list[int]], options: dict[str, Any]
    ) -> Tensor:
        """One call, at sizes that the networks can halve: rgb [b, 3, H, W], holes [b, H, W] -> [b, 3, H, W]."""
        height, width = rgb.shape[-2:]
        factor = size_factor(pipe)
        pictures = {"image": rgb, "mask_image": holes[:, None]}
        pictures |= {name: value for name, value in options.items() if isinstance(value, Tensor)}
        large = {name: padded(value.float(), factor) for name, value in pictures.items()}
        painted = self.call(pipe, *asked, options | large | {"strength": self.strength})
        return painted[..., :height, :width]

    def _around(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """See `around`."""
        pipe, width = self.pipe, rgb.shape[-1]
        across = max(1, self._painted_width(width) // size_factor(pipe)) * size_factor(pipe)
        shown, kept = (rgb, known) if across == width else _brought_to(rgb, known, across)
        tiled, pipe.vae.use_tiling = pipe.vae.use_tiling, False  # a tile has edges of its own, which do not meet
        try:
            with wrapped(denoiser(pipe), pipe.vae):
                painted = self.fill(shown, kept, prompts, seeds, behind=_push_pull_round)
        finally:
            pipe.vae.use_tiling = tiled
        if across == width:
            return painted
        return eight_bits(known[:, None] * eight_bits(rgb) + (1 - known[:, None]) * _at_width(painted, width))

    def _painted_width(self, width: int) -> int:
        """At which width a panorama of that width is painted."""
        return min(width, self.panorama_width)


def _brought_to(rgb: Tensor, known: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Panoramas [B, 3, H, W], [B, H, W] at another width, half as high; known only where all pixels are."""
    both = _at_width(torch.cat([rgb * known[:, None], known[:, None]], dim=1), width)
    return both[:, :3], (both[:, 3] > 0.999).float()


def _at_width(panoramas: Tensor, width: int) -> Tensor:
    """[B, C, H, W] in [0, 1] -> [B, C, width / 2, width] in [0, 1]."""
    if width <= panoramas.shape[-1]:
        return F.interpolate(panoramas, (width // 2, width), mode="area")
    rays = directions(width // 2, width)
    return torch.stack([sample(picture, rays, "bicubic") for picture in panoramas]).clamp(0, 1)


def _push_pull_round(rgb: Tensor, known: Tensor) -> Tensor:
    """`push_pull` of a panorama [3, H, W], [H, W], whose edges meet."""
    margin = rgb.shape[-1] // 4
    wide = push_pull(pad(rgb, margin), pad(known[None], margin)[0])
    return wide[:, margin:-margin, margin:-margin]


@dataclass
class DiffusionImageToImage(HubPipeline, ImageToImage):
    """Fulfils ImageToImage with a text-to-image checkpoint; its settings: see HubPipeline."""

    key: str = field(default="refine.model", init=False)
    auto: ClassVar[str] = "AutoPipelineForImage2Image"

    @staticmethod
    def fits(arguments: Set[str]) -> bool:
        """See HubPipeline."""
        return {"image", "strength"} <= arguments and not {"mask_image", "control_image"} & arguments

    def expect_fit(self, pipe: Any) -> None:
        """See HubPipeline."""
        unet = getattr(pipe, "unet", None)
        if unet is not None:
            channels, latents = unet.config.in_channels, pipe.vae.config.latent_channels
            wanted = f"{latents}: a text-to-image checkpoint"
            expect("refine.model", f"a network of {channels} channels", channels == latents, wanted)

    def __call__(self, rgb: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int], strength: float) -> Tensor:
        """rgb [B, 3, H, W] -> [B, 3, H, W]."""
        expect("refine.model.steps", self.steps, int(self.steps * strength) >= 1, f"{math.ceil(1 / strength)} or more")
        height, width = rgb.shape[-2:]
        answer = torch.empty_like(rgb)
        for chosen in batches(range(len(rgb)), self.runtime.batch):
            shown = padded(rgb[chosen].clamp(0, 1), size_factor(self.pipe))
            asked = [prompts[number] for number in chosen], [seeds[number] for number in chosen]
            painted = self.call(self.pipe, *asked, {"image": shown, "strength": strength})
            answer[chosen] = eight_bits(painted[..., :height, :width]).to(rgb)
        return answer
