"""Diffusion checkpoints of random weights in the model hub's layout: everything is there but the training.

Made by the libraries' own classes and `save_pretrained`, with the parts, levels and channels of the published ones and
hardly any width.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.tiny_clip import save_tiny_clip
from worldgen.models.conformance import picture
from worldgen.types import Prompt

PROMPTS, SEEDS = [Prompt("a meadow"), Prompt("a room"), Prompt("a dune")], [3, 4, 5]
LATENTS = 4  # channels of Stable Diffusion's latents; FLUX has 16
MASKED = 2 * LATENTS + 1  # of an inpainting network: noisy latents, mask, the masked picture's latents
TEXT = 32  # width of the tiny CLIP


def save_all(root: Path) -> dict[str, Path]:
    """Folders by name. text_to_image: SDXL without inpainting; lora: a file for sdxl."""
    there = {
        "sdxl": save_sdxl(root / "sdxl"),
        "sd": save_sd(root / "sd"),
        "flux": save_flux(root / "flux"),
        "z_image": save_z_image(root / "z_image"),
        "qwen_image": save_qwen_image(root / "qwen_image"),
        "text_to_image": save_sdxl(root / "text_to_image", LATENTS, "StableDiffusionXLPipeline"),
        "sd_text_to_image": save_sd(root / "sd_text_to_image", LATENTS, "StableDiffusionPipeline"),
    }
    return there | {"lora": save_lora(root / "lora", there["sdxl"])}


def views(count: int = 3, height: int = 64, width: int = 64) -> tuple[Tensor, Tensor, list[str], list[int]]:
    """What an inpainter is asked: so many pictures with a hole each, as they are known, prompts and seeds."""
    rgb = torch.stack([picture(number)[:, :height, :width] for number in range(count)])
    known = torch.ones(count, height, width)
    for number in range(count):
        known[number, 8 : 24 + 8 * number, 20:50] = 0
    return rgb, known, PROMPTS[:count], SEEDS[:count]


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, in steps of 8 bits."""
    return float((one - other).abs().max() * 255)


def save_sdxl(folder: Path, channels: int = MASKED, kind: str = "StableDiffusionXLInpaintPipeline") -> Path:
    """channels: of the network's input; LATENTS for one that only paints new pictures. kind: the pipeline's class."""
    import diffusers

    pipe = getattr(diffusers, kind)(
        vae=_vae(LATENTS),
        text_encoder=_clip(folder, "CLIPTextModel"),
        text_encoder_2=_clip(folder, "CLIPTextModelWithProjection"),
        tokenizer=_clip(folder, "CLIPTokenizer"),
        tokenizer_2=_clip(folder, "CLIPTokenizer"),
        unet=_sdxl_unet(channels),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )
    return _saved(pipe, folder)


def save_sd(folder: Path, channels: int = MASKED, kind: str = "StableDiffusionInpaintPipeline") -> Path:
    """Stable Diffusion 1.5 and 2 differ from each other only in their text encoder."""
    import diffusers

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    pipe = getattr(diffusers, kind)(
        vae=_vae(LATENTS),
        text_encoder=_clip(folder, "CLIPTextModel"),
        tokenizer=_clip(folder, "CLIPTokenizer"),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _saved(pipe, folder)


def save_flux(folder: Path, channels: int = 16 + 16 + 64, kind: str = "FluxFillPipeline") -> Path:
    """FLUX.1 Fill: 16 latents, the masked picture's, and the mask itself as 8x8 channels, all in patches of 2x2.

    With 16 channels and the kind FluxPipeline, FLUX.1 [dev]."""
    import diffusers
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4 * channels,
        out_channels=4 * 16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        pooled_projection_dim=TEXT,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    letters += [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    t5 = T5Config(vocab_size=64 + len(letters), d_model=TEXT, d_ff=32, d_kv=8, num_layers=1, num_heads=2)
    pipe = getattr(diffusers, kind)(
        vae=_vae(16, quantised=False),
        text_encoder=_clip(folder, "CLIPTextModel"),
        tokenizer=_clip(folder, "CLIPTokenizer"),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=T5Tokenizer(vocab=letters, extra_ids=8),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    return _saved(pipe, folder)


def save_z_image(folder: Path) -> Path:
    """Z-Image: latents as FLUX's, a language model for the text, and a checkpoint that names no inpainting pipeline."""
    import diffusers
    from transformers import Qwen3Config, Qwen3Model

    tokenizer = _qwen_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}"
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    qwen = Qwen3Config(vocab_size=128, hidden_size=TEXT, intermediate_size=32, num_hidden_layers=2, **heads)
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=16,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=TEXT,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    )
    pipe = diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, quantised=False),
        text_encoder=Qwen3Model(qwen),
        tokenizer=tokenizer,
        transformer=transformer,
    )
    return _saved(pipe, folder)


def save_qwen_image(folder: Path) -> Path:
    """Qwen-Image: the autoencoder of a video network, a vision-language model for the text, two kinds of guidance."""
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    small = {"hidden_size": TEXT, "intermediate_size": 32}
    rope = {"rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"}}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    qwen = Qwen2_5_VLConfig(
        text_config={"vocab_size": 128, "bos_token_id": 0, "eos_token_id": 2} | small | heads | rope,
        vision_config={"depth": 1, "num_heads": 2, "out_hidden_size": TEXT} | small,
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=64,
        out_channels=16,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        axes_dims_rope=(4, 6, 6),
    )
    vae = diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=1)
    for parameter in [*transformer.parameters(), *vae.parameters()]:
        if parameter.dim() >= 2:  # random weights as they come hardly hear of the prompt
            parameter.data *= 4
    pipe = diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
    )
    return _saved(pipe, folder)


def save_controlnet(folder: Path, base: Path, conditioning_channels: int = 4, latents: int = LATENTS) -> Path:
    """A ControlNet for the network of `base`, a folder of `save_sdxl` or `save_sd`; its answer is not the zero of the
    first step of training."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    unet.register_to_config(in_channels=latents)
    torch.manual_seed(1)
    network = ControlNetModel.from_unet(unet, conditioning_channels=conditioning_channels, load_weights_from_unet=False)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    return folder


def save_lora(folder: Path, base: Path) -> Path:
    """A LoRA of the attention of `base`'s network, as diffusers' training scripts save theirs."""
    import diffusers
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = diffusers.UNet2DConditionModel.from_pretrained(base / "unet")
    torch.manual_seed(2)
    unet.add_adapter(LoraConfig(r=4, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    weights = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    diffusers.StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    return folder / "pytorch_lora_weights.safetensors"


def save_flux_lora(folder: Path, base: Path) -> Path:
    """A LoRA of the attention of `base`'s transformer, named and laid out as DiT360 leaves its own."""
    import diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    transformer = diffusers.FluxTransformer2DModel.from_pretrained(base / "transformer")
    torch.manual_seed(2)
    targets = ["attn.to_k", "attn.to_q", "attn.to_v", "attn.to_out.0"]
    transformer.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=targets))
    weights = get_peft_model_state_dict(transformer)
    folder.mkdir()
    save_file({f"transformer.{name}": value for name, value in weights.items()}, folder / "adapter_model.safetensors")
    return folder / "adapter_model.safetensors"


def _vae(latents: int, quantised: bool = True) -> Any:
    """Four levels, as published: a latent stands for 8x8 pixels."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latents,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=64,
        shift_factor=None if quantised else 0.1,
        use_quant_conv=quantised,
        use_post_quant_conv=quantised,
    )


def _sdxl_unet(channels: int) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=(32, 32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1),
        cross_attention_dim=2 * TEXT,
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=TEXT + 6 * 8,
        norm_num_groups=8,
    )


def _clip(folder: Path, kind: str) -> Any:
    """One part of a tiny CLIP, of which a copy lies beside the checkpoint while that is made."""
    import transformers

    whole = folder.parent / "clip"
    if not (whole / "config.json").exists():
        save_tiny_clip(whole)
    if kind == "CLIPTokenizer":
        return transformers.CLIPTokenizer.from_pretrained(whole)
    config = transformers.CLIPTextConfig.from_pretrained(whole, projection_dim=TEXT)
    torch.manual_seed(3)
    return getattr(transformers, kind)(config)


def _qwen_tokenizer() -> Any:
    """Letter by letter."""
    from transformers import Qwen2Tokenizer

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *map(chr, range(33, 127)), "\u0120", "\u010a"]
    return Qwen2Tokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[])


def _saved(pipe: Any, folder: Path) -> Path:
    pipe.save_pretrained(folder)
    return folder
