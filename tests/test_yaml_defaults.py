"""Values are stated once, or twice alike: what a YAML says of a class's settings is what the class says itself."""

import inspect
from collections.abc import Iterator
from typing import Any

import hydra.utils
from omegaconf import OmegaConf

from worldgen.config import CONF_DIR, choice, choices

GLOBAL = {"experiment", "profile", "hydra"}  # they set keys of other groups
GROUPS = sorted({path.name for path in CONF_DIR.iterdir() if path.is_dir()} - GLOBAL)
_DEPTH = "settings.view_size settings.merge_height settings.gradient_deg settings.bend shape.key"  # merged
_SD = "size circular panorama_width"  # of pictures so small that panoramas are painted round in one
_ABLATION = "runs group_by baseline"
TELLING = {  # of each file, what makes it another choice than its neighbours
    "complete/all": "order budget at_once min_hole max_hole",
    **dict.fromkeys(("correction/bilateral", "correction/both", "correction/distortion"), "name"),
    **dict.fromkeys(("data/dl3dv", "data/tanks_and_temples"), "scenes.depth"),
    "data/procedural": "size",
    "data/procedural_test": "size scenes.seed scenes.error",
    "data/room": "size",
    "density/none": "enabled",
    **dict.fromkeys(("depth/depth_pro", "depth/metric3d", "depth/moge"), _DEPTH),
    "depth/depth_anything_3": f"{_DEPTH} shape.model shape.size shape.metres",
    "depth/moge_small": f"{_DEPTH} shape.model shape.size shape.detail",
    "depth/paper": f"{_DEPTH} shape.model",
    "fov/moge_small": "model size detail",
    # what each checkpoint's makers ask for, and what it takes
    "inpainter/flux_fill": "size steps guidance",
    "inpainter/low_vram": f"{_SD} strength guidance vae_tiling vae_slicing",
    "inpainter/qwen_image": "size guidance negative_prompt",
    "inpainter/sd15": _SD,
    "inpainter/sd15_lcm": f"{_SD} steps scheduler guidance",
    "inpainter/sd2": _SD,
    "inpainter/sdxl": "size circular strength guidance",
    "inpainter/sdxl_lcm": "size circular strength steps scheduler guidance",
    "inpainter/small_diffusion": "steps guidance margin_px working_px",
    "completer/small_controlnet": "inpainter.steps inpainter.guidance inpainter.margin_px inpainter.working_px",
    "inpainter/z_image": "size steps guidance",
    **dict.fromkeys((f"metric/{kind}" for kind in ("contradicted", "ghosts", "hallucinations", "haze")), "kind"),
    **dict.fromkeys(("metric/style_contrast", "metric/style_texture", "metric/unsupported"), "kind"),
    "metric/qalign_aesthetic": "task",
    "metric/qrealign_aesthetic": "task model",
    "metric/qrealign_quality": "model",
    **dict.fromkeys(("panorama/adhoc", "panorama/auto", "panorama/given", "panorama/sequential"), "heuristic"),
    "panorama/native": "heuristic painter.size painter.steps painter.guidance painter.prompt",
    "prompts/caption": "captioner.size",
    "prompts/coarse": "size coarse",
    **dict.fromkeys(("prompts/llama", "prompts/vlm"), "size"),
    "refine/sdxl": "model.size",
    **dict.fromkeys(("table/conditioning", "table/warping_ablation"), "baseline"),
    **dict.fromkeys(("table/depth_ablation", "table/distortion_ablation", "table/panorama_ablation"), _ABLATION),
    **dict.fromkeys(("table/prompts_ablation", "table/style_ablation", "table/world"), _ABLATION),
    "splat/paper": "steps antialiased means_rate quats_rate log_scales_rate opacity_rate colour_rate",
    "splat/short": "steps decay",
    "table/generalisation": "runs group_by paired",
    "table/panorama": "runs baseline",
    "view_depth/moge_small": "model size detail",
}
DIFFERENT = {
    "metric/qalign_aesthetic: dtype": "None is the first that the model has; a person reads which",
    "metric/qalign_quality: dtype": "as above",
    "metric/qrealign_aesthetic: dtype": "as above",
    "metric/qrealign_quality: dtype": "as above",
    "protocol/truth_views: size": "true panoramas that can be had are no finer",
}


def nodes(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping that makes an object, with its place in the file."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, child in node.items():
            yield from nodes(child, f"{key}.{name}".lstrip("."))


def differences() -> Iterator[tuple[str, Any, Any]]:
    """Places whose value is another than the default of what it is handed to, and both."""
    places = [(group, name) for group in GROUPS for name in choices(group)]
    for group, chosen in places:
        content = OmegaConf.to_container(choice(group, chosen), resolve=False)
        for place, node in nodes(content):
            signature = inspect.signature(hydra.utils.get_object(node["_target_"])).parameters
            for name, value in node.items():
                if name not in signature or isinstance(value, dict | list) or "${" in str(value):
                    continue
                default = signature[name].default
                if default is not inspect.Parameter.empty and default != value:
                    where = f"{group}/{chosen}: {place}.{name}".replace(": .", ": ")
                    yield where, value, default


def test_yaml_and_class_agree():
    found = {where: f"{value!r}, its class says {default!r}" for where, value, default in differences()}
    telling = {f"{file}: {place}" for file, places in TELLING.items() for place in places.split()}
    assert {where: said for where, said in found.items() if where not in telling | set(DIFFERENT)} == {}
    assert telling | set(DIFFERENT) <= set(found), "agrees by now"
