"""Depth networks of transformers with random weights, in the model hub's layout."""

from pathlib import Path

import torch

_DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}


def save_tiny_depth_anything(folder: Path, max_depth: int = 20, kind: str = "metric") -> Path:
    """Pictures of 56 px on the shorter side, four patches of 14."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    backbone = {"model_type": "dinov2", "image_size": 56, "patch_size": 14, "out_features": ["stage1", "stage2"]}
    config = DepthAnythingConfig(
        backbone_config=_DINO | backbone | {"reshape_hidden_states": False, "apply_layernorm": True},
        patch_size=14,
        reassemble_hidden_size=32,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[16, 32],
        fusion_hidden_size=16,
        head_in_index=-1,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=max_depth,
    )
    torch.manual_seed(0)
    network = DepthAnythingForDepthEstimation(config)
    for parameter in network.parameters():  # random weights as they come answer everything alike; larger ones do not
        if parameter.dim() >= 2:
            parameter.data *= 4
    network.save_pretrained(folder)
    sizes = {"size": {"height": 56, "width": 56}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    DPTImageProcessor(**sizes, resample=3).save_pretrained(folder)
    return folder


def save_tiny_depth_pro(folder: Path, fov_deg: float | None = 65.0, inverse: float = 0.3) -> Path:
    """Pictures of 128 px in patches of 32; about `fov_deg` wide whatever they show, without that head if None, and
    about 1 / inverse metres deep for a focal length of their width."""
    from transformers import DepthProConfig, DepthProForDepthEstimation, DepthProImageProcessor

    encoder = _DINO | {"model_type": "dinov2", "image_size": 32, "patch_size": 8, "num_hidden_layers": 2}
    config = DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 16],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[32, 32, 16],
        merge_padding_value=1,
        use_fov_model=fov_deg is not None,
        num_fov_head_layers=2,
        image_model_config=encoder,
        patch_model_config=encoder,
        fov_model_config=encoder,
    )
    torch.manual_seed(0)
    network = DepthProForDepthEstimation(config)
    with torch.no_grad():
        network.head.layers[-2].weight *= 0.02
        network.head.layers[-2].bias[:] = inverse
        if fov_deg is not None:
            network.fov_model.head.layers[-1].bias[:] = fov_deg
    network.save_pretrained(folder)
    DepthProImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder
