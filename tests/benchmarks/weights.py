"""How much memory do the networks' weights take? `python -m tests.benchmarks.weights`

Builds each network by its library's own class and its published settings, without numbers in it (torch's meta device),
counts its parameters, and multiplies them by the bytes that the adapter loads each of them in. Activations and what a
library needs besides come on top. The last line is one JSON object: gigabytes (1e9 bytes) by choice of conf/.
"""

import json
import warnings
from collections.abc import Callable
from typing import Any

import worldgen._torchvision  # noqa: F401 before transformers imports torchvision

# isort: split
import diffusers
import torch
import transformers
from torch import nn

HALF, FULL = 2, 4  # bytes: with runtime.dtype=auto on a GPU, and where the adapter's weights stay in 32 bits


def count(make: Callable[[], nn.Module]) -> int:
    """Parameters of a network that is never filled with numbers."""
    linspace = torch.linspace
    torch.linspace = lambda *given, **named: linspace(*given, **named | {"device": "cpu"})  # MoGe reads its values
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(parameter.numel() for parameter in make().parameters())
    finally:
        torch.linspace = linspace


def sdxl_unet(channels: int) -> nn.Module:
    return diffusers.UNet2DConditionModel(
        in_channels=channels,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def sd_unet(channels: int, text: int, heads: Any, linear: bool) -> nn.Module:
    return diffusers.UNet2DConditionModel(
        in_channels=channels, cross_attention_dim=text, attention_head_dim=heads, use_linear_projection=linear
    )


def controlnet(unet: nn.Module) -> nn.Module:
    return diffusers.ControlNetModel.from_unet(unet, conditioning_channels=4, load_weights_from_unet=False)


def vae(latents: int) -> nn.Module:
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latents,
        layers_per_block=2,
        use_quant_conv=latents == 4,
        use_post_quant_conv=latents == 4,
    )


def clip(width: int, layers: int, projected: bool = False) -> nn.Module:
    config = transformers.CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, intermediate_size=4 * width, projection_dim=width
    )
    config.num_attention_heads = width // 64
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


def t5() -> nn.Module:
    sizes = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
    return transformers.T5EncoderModel(transformers.T5Config(**sizes))


def flux(channels: int) -> nn.Module:
    return diffusers.FluxTransformer2DModel(in_channels=channels, out_channels=64, guidance_embeds=True)


def qwen3() -> nn.Module:
    """The 4B model, without what says words."""
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True}
    sizes = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36}
    return transformers.Qwen3Model(transformers.Qwen3Config(**sizes, **heads))


def qwen2_vl() -> nn.Module:
    """Qwen2.5-VL 7B."""
    heads = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    rope = {"rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"}}
    sizes = {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944}
    seeing = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
    config = transformers.Qwen2_5_VLConfig(text_config=sizes | heads | rope, vision_config=seeing)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl() -> nn.Module:
    """Qwen3-VL 8B."""
    heads = {"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    sizes = {"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288}
    seeing = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 4096}
    config = transformers.Qwen3VLConfig(text_config=sizes | heads, vision_config=seeing, tie_word_embeddings=False)
    return transformers.Qwen3VLForConditionalGeneration(config)


def florence() -> nn.Module:
    """Florence-2 large."""
    widths = [256, 512, 1024, 2048]
    seeing = {"embed_dim": widths, "num_heads": [8, 16, 32, 64], "num_groups": [8, 16, 32, 64], "projection_dim": 1024}
    speaking = {"model_type": "bart", "vocab_size": 51289, "max_position_embeddings": 4096}
    config = transformers.Florence2Config(vision_config=seeing, text_config=speaking)
    return transformers.Florence2ForConditionalGeneration(config)


def depth_pro() -> nn.Module:
    """With the head for the field of view, which its checkpoint has."""
    vit = {"model_type": "dinov2", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    parts = ("image_model_config", "patch_model_config", "fov_model_config")
    vits = {part: vit | {"patch_size": 16, "image_size": 384, "use_mask_token": False} for part in parts}
    return transformers.DepthProForDepthEstimation(transformers.DepthProConfig(**vits, use_fov_model=True))


def depth_anything() -> nn.Module:
    """Version 2, small."""
    vit = transformers.Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        patch_size=14,
        image_size=518,
        out_indices=[3, 6, 9, 12],
        reshape_hidden_states=False,
    )
    neck = {"reassemble_hidden_size": 384, "neck_hidden_sizes": [48, 96, 192, 384], "fusion_hidden_size": 64}
    config = transformers.DepthAnythingConfig(backbone_config=vit, **neck, depth_estimation_type="metric")
    return transformers.DepthAnythingForDepthEstimation(config)


def moge_2() -> nn.Module:
    """ViT-L with normals, by the authors' configs/train/v2.json."""
    from moge.model.v2 import MoGeModel

    widths = [1024, 256, 128, 64, 32]
    common = {"dim_res_blocks": widths, "res_block_in_norm": "none", "res_block_hidden_norm": "none"}
    common |= {"resamplers": ["conv_transpose"] * 3 + ["bilinear"]}
    head = common | {"dim_in": widths, "num_res_blocks": [0, 1, 1, 1, 0]}
    neck = common | {"dim_in": [1026, 2, 2, 2, 2], "dim_out": None, "num_res_blocks": [0, 2, 2, 2, 0]}
    vit = {"backbone": "dinov2_vitl14", "intermediate_layers": [5, 11, 17, 23], "dim_out": 1024}
    heads = {
        f"{name}_head": head | {"dim_out": [None] * 4 + [channels]}
        for name, channels in {"points": 3, "normal": 3, "mask": 1}.items()
    }
    return MoGeModel(encoder=vit, neck=neck, **heads, scale_head={"dims": [1024, 1024, 1024, 1]})


_SDXL = (lambda: vae(4), lambda: clip(768, 12), lambda: clip(1280, 32, True))
_FLUX = (t5, lambda: vae(16), lambda: clip(768, 12))
NETWORKS: dict[str, tuple[int, tuple[Callable[[], nn.Module], ...]]] = {
    "inpainter=sdxl": (HALF, (lambda: sdxl_unet(9), *_SDXL)),
    "inpainter=sd15": (HALF, (lambda: sd_unet(9, 768, 8, False), lambda: vae(4), lambda: clip(768, 12))),
    "inpainter=sd2": (HALF, (lambda: sd_unet(9, 1024, (5, 10, 20, 20), True), lambda: vae(4), lambda: clip(1024, 23))),
    "inpainter=flux_fill": (HALF, (lambda: flux(384), *_FLUX)),
    "inpainter=z_image": (HALF, (diffusers.ZImageTransformer2DModel, qwen3, lambda: vae(16))),
    "inpainter=qwen_image": (HALF, (diffusers.QwenImageTransformer2DModel, qwen2_vl, diffusers.AutoencoderKLQwenImage)),
    "panorama=native": (HALF, (lambda: flux(64), *_FLUX)),
    "refine=sdxl": (HALF, (lambda: sdxl_unet(4), *_SDXL)),
    "completer=controlnet, of sdxl": (HALF, (lambda: controlnet(sdxl_unet(4)),)),
    "completer=controlnet, of sd15": (HALF, (lambda: controlnet(sd_unet(4, 768, 8, False)),)),
    "prompts=vlm": (HALF, (qwen3_vl,)),
    "prompts=llama": (HALF, (lambda: transformers.MllamaForConditionalGeneration(transformers.MllamaConfig()),)),
    "prompts=caption": (HALF, (florence,)),
    "view_depth=depth_pro": (HALF, (depth_pro,)),
    "view_depth=depth_anything": (HALF, (depth_anything,)),
    "view_depth=moge": (FULL, (moge_2,)),
}


def gigabytes(choice: str) -> float:
    """Of one choice's weights."""
    size, parts = NETWORKS[choice]
    return size * sum(map(count, parts)) / 1e9


def main() -> None:
    found = {choice: round(gigabytes(choice), 2) for choice in NETWORKS}
    for choice, gb in found.items():
        print(f"{choice:32}{gb:7.2f} GB, {'16' if NETWORKS[choice][0] == HALF else '32'} bits")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
