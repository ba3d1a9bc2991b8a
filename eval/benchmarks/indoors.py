"""How often is the embedded profile's guess right, whether a photo was taken indoors?

    python -m eval.benchmarks.indoors

Asked of crops of the panoramas that registry packages carry: twelve directions, three fields of view, two shapes each.
Which of those are rooms is told here by hand. A panorama counts as much as any other. The last line is one JSON object.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from eval.synthetic.panoramas import truth_panoramas
from worldgen import program
from worldgen.arguments import Parser
from worldgen.config import choice, instantiate
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.models.protocols import Prompter
from worldgen.types import Camera

ROOMS = frozenset({"apartment", "hall", "lab", "lobby", "studio", "warehouse", "workshop"})
_YAWS_DEG, _FOVS_DEG, _WIDTHS, _HEIGHT = range(0, 360, 30), (50, 70, 90), (256, 341), 256


def crops(panorama: Tensor) -> Iterator[Tensor]:
    """Photos [3, H, W] that level cameras would take in a panorama [3, H, W]."""
    for yaw_deg in _YAWS_DEG:
        for fov_deg in _FOVS_DEG:
            for width in _WIDTHS:
                camera = Camera.from_fov(width, _HEIGHT, fov_deg, look_at(yaw_deg, 0))
                yield to_perspective(panorama, camera, "bicubic").clamp(0, 1)


def share_right(prompter: Prompter, panorama: Tensor, is_room: bool) -> float:
    """The part of a panorama's crops that are taken for what they are."""
    return float(np.mean([prompter(crop).indoor == is_room for crop in crops(panorama)]))


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    Parser(prog="python -m eval.benchmarks.indoors", description=__doc__).parse_args(arguments)
    prompter = instantiate(choice("prompts", "template"))
    shares = {name: share_right(prompter, panorama, name in ROOMS) for name, panorama in truth_panoramas()}
    for name, share in shares.items():
        print(f"{name:20} {'indoors' if name in ROOMS else 'outdoors':10} {share:5.0%}")
    told = {"all": shares, "indoors": {}, "outdoors": {}}
    for name, share in shares.items():
        told["indoors" if name in ROOMS else "outdoors"][name] = share
    if not (told["indoors"] and told["outdoors"]):
        raise UserError("panoramas: of one kind alone, wanted some of rooms and some of the open air")
    right = {kind: round(float(np.mean(list(of_kind.values()))), 3) for kind, of_kind in told.items()}
    print(json.dumps({"panoramas": len(shares), "right": right, "wanted": 0.9}))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.indoors")
