"""Values are stated once, or twice alike: what a YAML says of a class's settings is what the class says itself."""

import inspect
from collections.abc import Iterator
from typing import Any

import hydra.utils
from omegaconf import OmegaConf

from worldgen.config import CONF_DIR, choice, choices

GLOBAL = {"experiment", "profile", "hydra"}  # they set keys of other groups
GROUPS = sorted({path.name for path in CONF_DIR.iterdir() if path.is_dir()} - GLOBAL)
TELLING = {  # what makes a choice another than its neighbours
    "correction": {"name"},
    "complete": {"order", "budget", "at_once", "min_hole", "max_hole"},
    "density": {"enabled"},
    "depth": {"key", "model", "size", "metres", "detail", "view_size", "merge_height", "gradient_deg"},
    "fov": {"model", "size", "detail"},
    "inpainter": {  # what each checkpoint's makers ask for, and what it takes
        *("size", "steps", "scheduler", "strength", "guidance", "negative_prompt", "circular", "panorama_width"),
        *("vae_tiling", "vae_slicing"),
    },
    "metric": {"task", "model", "kind"},
    "panorama": {"heuristic", "size", "steps", "guidance", "prompt"},  # but for the first, of native's painter
    "prompts": {"coarse"},
    "refine": {"size"},
    "table": {"runs", "group_by", "baseline", "paired"},
    "view_depth": {"model", "size", "detail"},
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
    found = {
        where: f"{value!r}, its class says {default!r}"
        for where, value, default in differences()
        if where.rpartition(".")[2].rpartition(" ")[2] not in TELLING.get(where.partition("/")[0], ())
    }
    assert {where: said for where, said in found.items() if where not in DIFFERENT} == {}
    assert set(DIFFERENT) <= set(found), "agrees by now"
