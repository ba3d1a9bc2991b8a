"""The frozen networks that a ControlNet steers, as an inpainter's pipeline has them, and a new ControlNet for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.models.controlnet import CHANNELS, PIPELINES
from worldgen.models.loading import quiet

_EMBEDDING = (16, 32, 96, 256)  # channels of a condition's levels, each half as large: ControlNet's own


@dataclass(frozen=True, eq=False)
class Text:
    """hidden: [B, L, D], what networks read of prompts; pooled: [B, P], where they are SDXL's."""

    hidden: Tensor
    pooled: Tensor | None


class SteeredNetworks:
    """UNet, autoencoder and text encoders of a pipeline of Stable Diffusion or SDXL, frozen.

    Text is encoded once for each prompt, and kept.
    """

    def __init__(self, pipe: Any) -> None:
        """Raises UserError for a pipeline of another kind."""
        name = type(pipe).__name__
        expect("inpainter", name, name in PIPELINES, f"one of {', '.join(PIPELINES)}, which a ControlNet can steer")
        self.pipe, self.unet, self.vae = pipe, pipe.unet, pipe.vae
        for network in self._networks():
            network.requires_grad_(False).eval()
        self._texts: dict[str, tuple[Tensor, ...]] = {}

    @property
    def latents(self) -> int:
        """Channels of a picture's latents."""
        return int(self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels of a picture for one of its latents, along a side."""
        return int(self.pipe.vae_scale_factor)

    @property
    def sees_masked(self) -> bool:
        """Whether the UNet is an inpainting one, which is given the mask and the masked picture, too."""
        return int(self.unet.config.in_channels) > self.latents

    def to(self, device: torch.device) -> None:
        for network in self._networks():
            network.to(device)

    def save_memory(self) -> None:
        """Keeps no activations for the backward pass, and computes them again."""
        self.unet.enable_gradient_checkpointing()

    def text(self, prompts: Sequence[str]) -> Text:
        """Of B prompts, on the UNet's device."""
        for prompt in {*prompts} - {*self._texts}:
            self._texts[prompt] = self._encoded(prompt)
        parts = [
            torch.cat(part).to(self.unet.device) for part in zip(*(self._texts[each] for each in prompts), strict=True)
        ]
        return Text(parts[0], parts[1] if len(parts) > 1 else None)

    def answer(
        self, network: Any, noisy: Tensor, timesteps: Tensor, condition: Tensor, text: Text, beside: Tensor | None
    ) -> Tensor:
        """[B, C, h, w], what the UNet says of noisy latents [B, C, h, w], steered by a ControlNet.

        condition: [B, 4, H, W], as `models.controlnet.condition`; beside: [B, 1 + C, h, w], as
        `diffusion.latents.seen`, for an inpainting UNet.
        """
        added = None if text.pooled is None else {"text_embeds": text.pooled, "time_ids": self._sizes(condition)}
        say = {"encoder_hidden_states": text.hidden, "added_cond_kwargs": added, "return_dict": False}
        down, middle = network(noisy, timesteps, controlnet_cond=condition, **say)
        dtype = self.unet.dtype
        shown = noisy if beside is None else torch.cat([noisy, beside], dim=1)
        (answer,) = self.unet(
            shown.to(dtype),
            timesteps,
            down_block_additional_residuals=[each.to(dtype) for each in down],
            mid_block_additional_residual=middle.to(dtype),
            **say,
        )
        return answer

    def new_controlnet(self) -> Any:
        """A ControlNet that says nothing yet: the UNet's own encoder, and layers of zeros."""
        from diffusers import ControlNetModel

        levels = self.factor.bit_length()  # of the condition, from pixels down to latents
        expect("inpainter", f"latents of {self.factor} pixels", levels <= len(_EMBEDDING), "8 pixels at most")
        options = {"conditioning_channels": CHANNELS, "conditioning_embedding_out_channels": _EMBEDDING[:levels]}
        network = ControlNetModel.from_unet(self.unet, **options)
        if self.sees_masked:  # pipelines give a ControlNet the noisy latents alone
            network = _narrowed(network, self.latents)
        return network.float().train()

    def controlnet_of(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
        """A ControlNet of these weights; None without any."""
        from diffusers import ControlNetModel

        if not weights:
            return None
        with torch.device("meta"):
            network = ControlNetModel.from_config(dict(config))
        network.load_state_dict(weights, assign=True)
        return network

    def _networks(self) -> list[Any]:
        parts = (getattr(self.pipe, name, None) for name in ("unet", "vae", "text_encoder", "text_encoder_2"))
        return [part for part in parts if part is not None]

    @torch.no_grad()
    def _encoded(self, prompt: str) -> tuple[Tensor, ...]:
        """hidden [1, L, D], and pooled [1, P] if the pipeline has it."""
        options = {"device": self.unet.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        with quiet():
            answer = self.pipe.encode_prompt(prompt=prompt, **options)
        return tuple(part.cpu() for part in answer if part is not None)

    def _sizes(self, condition: Tensor) -> Tensor:
        """[B, 6], what SDXL is told of the picture: its size, that nothing is cropped, the size that is wanted."""
        height, width = condition.shape[-2:]
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=condition.dtype, device=condition.device)
        return sizes.expand(len(condition), 6)


def _narrowed(network: Any, channels: int) -> Any:
    """The same ControlNet without the input channels beyond the first `channels`."""
    weights = network.state_dict()
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :channels].clone()
    narrow = type(network).from_config({**network.config, "in_channels": channels})
    narrow.load_state_dict(weights)
    return narrow
