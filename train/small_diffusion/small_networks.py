"""The small networks, in the parts and with the names that Stable Diffusion's inpainting has in diffusers.

Prompts are not heard: the text encoder answers every text alike, so that a network which was trained without texts
meets nothing new.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train.small_diffusion.settings import LEVELS, AutoencoderSettings, DenoiserSettings
from train.small_diffusion.thumbnails import begun_as_thumbnails

TIMESTEPS = 1000
_TOKENS, _TEXT = 16, 32  # of a text, and numbers for each


def new_autoencoder(settings: AutoencoderSettings, size: int, seed: int) -> Any:
    """diffusers' AutoencoderKL of random weights, for pictures of `size` pixels."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    network: Any = AutoencoderKL(
        block_out_channels=tuple(settings.widths),
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        latent_channels=settings.latents,
        norm_num_groups=settings.groups,
        layers_per_block=1,
        sample_size=size,
        scaling_factor=1.0,  # its latents have mean 0 and variance 1 by themselves; see `standardised`
    )
    return begun_as_thumbnails(_begun_plainly(network), settings.groups)


@torch.no_grad()
def standardised(vae: Any, latents: Tensor) -> None:
    """Changes the autoencoder so that `latents` [N, C, h, w], its own, would have had mean 0 and variance 1 in each
    channel, and pictures come out as before: the two 1x1 convolutions at the latents take it."""
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    into, back, channels = vae.quant_conv, vae.post_quant_conv, len(mean)
    into.weight[:channels] /= std[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()  # of the answer's variance, as a logarithm
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= std[None, :, None, None]


def new_denoiser(settings: DenoiserSettings, latents: int, size: int, seed: int) -> Any:
    """diffusers' UNet2DConditionModel of random weights, for inpainting latents of `size` a side."""
    from diffusers import UNet2DConditionModel

    below = len(settings.widths) - 1
    torch.manual_seed(seed)
    network: Any = UNet2DConditionModel(
        sample_size=size,
        in_channels=2 * latents + 1,
        out_channels=latents,
        block_out_channels=tuple(settings.widths),
        layers_per_block=settings.layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * below,
        up_block_types=("CrossAttnUpBlock2D",) * below + ("UpBlock2D",),
        cross_attention_dim=_TEXT,
        attention_head_dim=settings.heads,  # by an old mistake of diffusers, their number
        norm_num_groups=settings.groups,
    )
    return _begun_plainly(network)


def _begun_plainly(network: nn.Module) -> Any:
    """The network with residual blocks that add nothing at first: deep ones so learn in fewer steps."""
    from diffusers.models.resnet import ResnetBlock2D

    for block in network.modules():
        if isinstance(block, ResnetBlock2D):
            for parameter in block.conv2.parameters():
                nn.init.zeros_(parameter)
    return network


def new_schedule(prediction: str) -> Any:
    """Stable Diffusion's own, for few steps."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        timestep_spacing="trailing",  # the first step begins at noise alone, however few there are
    )


def new_text_encoder() -> Any:
    """transformers' CLIPTextModel that answers every text alike."""
    from transformers import CLIPTextConfig, CLIPTextModel

    start, end = len(_tokens()), len(_tokens()) + 1
    config = CLIPTextConfig(
        vocab_size=end + 1,
        hidden_size=_TEXT,
        intermediate_size=_TEXT,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=_TOKENS,
        projection_dim=_TEXT,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(0)
    network = CLIPTextModel(config)
    norms = [part for name, part in network.named_modules() if name.endswith("final_layer_norm")]
    norm: Any = norms[0]
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(torch.linspace(-1, 1, _TEXT))
    return network


def unheard_text(count: int) -> Tensor:
    """What the text encoder answers, whatever it is told: [count, tokens, numbers]."""
    return torch.linspace(-1, 1, _TEXT).expand(count, _TOKENS, -1)


def save_pipeline(vae: Any, denoiser: Any, prediction: str, folder: Path) -> None:
    """A folder in the layout of diffusers' StableDiffusionInpaintPipeline, its weights in 16 bits."""
    from diffusers import StableDiffusionInpaintPipeline

    pipe: Any = StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=new_text_encoder(),
        tokenizer=_tokenizer(),
        unet=denoiser,
        scheduler=new_schedule(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.to(torch.float16).save_pretrained(folder)


def _tokens() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [*letters, *(f"{letter}</w>" for letter in letters)]


def _tokenizer() -> Any:
    """Letter by letter."""
    from transformers import CLIPTokenizer

    tokens = [*_tokens(), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(scratch)
        (there / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
        (there / "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer.from_pretrained(there, model_max_length=_TOKENS)
