"""Learns where pictures show ground, from real panoramas; says how well it does on panoramas left out.

    python -m eval.experiments.learned_ground
    python -m eval.experiments.learned_ground --out worldgen/embedded/ground_network.npz

Nobody has to label anything: in a level panorama what is well below the horizon is ground (or floor), and what is above
it and no sky stands there. Photos are taken of that in all directions, up and down, too, so that the place in a photo
tells nothing; exposed, tinted and blurred as cameras do; and a logistic regression learns the one from the other by
what EfficientNet-Lite0 says of each place. The example photo's panorama is left out of what is written. The last line
is one JSON object.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.panoramas import EXAMPLE, truth_panoramas
from worldgen import program
from worldgen.arguments import Parser
from worldgen.embedded.efficientnet_lite import EfficientNetLite0, load_network
from worldgen.embedded.ground_network import CELL_PX, VIEW_PX, features
from worldgen.embedded.linear_rule import LinearRule, learned_rule, write_rule
from worldgen.embedded.sky import sky_mask
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions, to_perspective
from worldgen.models import assets
from worldgen.types import Camera

_NO_GROUND = frozenset({"bridge", "sky"})  # a floor that mirrors, and clouds above clouds
_ROWS = 1024  # of a panorama: a photo of it has no more
_GROUND_DEG, _TRIPOD_DEG, _STANDS_DEG, _CEILING_DEG = 25.0, 70.0, 4.0, 45.0  # below and above the horizon
_PHOTOS, _PLACES = 48, 150  # of a panorama, and of a photo
_LOWEST_DEG, _HIGHEST_DEG = -45.0, 20.0  # where photos look
_HEIGHTS = (216, 240, 320)
_RIDGE, _STEPS = 1e-3, 40
_PURE = 0.95  # part of a place that has to be labelled


class Places(NamedTuple):
    """said: [N, FEATURES]; is_ground: [N], 0 or 1."""

    said: Tensor
    is_ground: Tensor


def places(network: EfficientNetLite0, panorama: Tensor, seed: int) -> Places:
    """What photos of a panorama [3, H, W] show of its ground, and of what stands above the horizon."""
    small = F.interpolate(panorama[None], (_ROWS, 2 * _ROWS), mode="area")[0]
    labels, chance = _labels(small), random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    said, is_ground = [], []
    for _ in range(_PHOTOS):
        c2w = look_at(chance.uniform(0, 360), chance.uniform(_LOWEST_DEG, _HIGHEST_DEG))
        camera = Camera.from_fov(VIEW_PX, chance.choice(_HEIGHTS), chance.uniform(45, 100), c2w)
        photo = _as_cameras_do(to_perspective(small, camera, "bicubic").clamp(0, 1), chance, generator)
        ground, stands = F.avg_pool2d(to_perspective(labels, camera)[None], CELL_PX)[0].flatten(1)
        known = (ground + stands > _PURE).nonzero()[:, 0]
        known = known[torch.randperm(len(known), generator=generator)[:_PLACES]]
        said.append(features(network, photo).flatten(1)[:, known].T)
        is_ground.append((ground > stands)[known].float())
    return Places(torch.cat(said), torch.cat(is_ground))


def _labels(panorama: Tensor) -> Tensor:
    """[2, H, W]: 1 where there is ground, and where something stands; elsewhere nobody knows."""
    down = torch.rad2deg(torch.asin(directions(*panorama.shape[1:])[..., 1].clamp(-1, 1)))
    ground = (down > _GROUND_DEG) & (down < _TRIPOD_DEG)
    stands = (down < -_STANDS_DEG) & (down > -_CEILING_DEG) & ~sky_mask(panorama)
    return torch.stack([ground, stands]).float()


def _as_cameras_do(photo: Tensor, chance: random.Random, generator: torch.Generator) -> Tensor:
    """Another exposure, white balance and saturation, or none; blurred or noisy."""
    grey = photo.mean(0, keepdim=True)
    photo = grey + (photo - grey) * chance.choice([0.0, 1.0, chance.uniform(0.3, 1.8)])
    tint = torch.tensor([chance.gauss(0, 0.1), 0.0, chance.gauss(0, 0.1)]).exp()[:, None, None]
    photo = (photo.clamp(0, 1) ** chance.uniform(0.6, 1.6) * tint * chance.uniform(0.5, 1.8)).clamp(0, 1)
    if chance.random() < 0.3:
        photo = F.avg_pool2d(photo[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    return (photo + chance.uniform(0, 0.03) * torch.randn(photo.shape, generator=generator)).clamp(0, 1)


def learn(parts: Sequence[Places]) -> LinearRule:
    """Of panoramas, each of which counts as much as any other."""
    said, truth = torch.cat([part.said for part in parts]), torch.cat([part.is_ground for part in parts])
    weight = torch.cat([torch.full((len(part.said),), 1 / len(part.said)) for part in parts]) / len(parts)
    return learned_rule(said, truth, weight, _RIDGE, _STEPS)


def share_right(rule: LinearRule, part: Places) -> float:
    """The part of the places that are told right, ground and what stands counting alike, where there are both."""
    right = ((rule.odds(part.said.T) > 0).float() == part.is_ground).float()
    return float(np.mean([right[part.is_ground == kind].mean() for kind in part.is_ground.unique()]))


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(prog="python -m eval.experiments.learned_ground", description=__doc__)
    parser.add_argument("--out", type=Path, help="an .npz for what was learned of all panoramas but the example's")
    options = parser.parse_args(arguments)
    network, parts = load_network(assets.fetch("efficientnet")), {}
    for number, (name, panorama) in enumerate(truth_panoramas()):
        if name not in _NO_GROUND:
            parts[name] = places(network, panorama, number)
            print(f"{name}: {len(parts[name].said)} places", file=sys.stderr)
    if len(parts) < 2:
        raise UserError(f"panoramas: {len(parts)}, wanted at least two: one to learn from, one to be judged by")
    right = {}
    for name, part in parts.items():
        right[name] = share_right(learn([other for key, other in parts.items() if key != name]), part)
        print(f"{name:20} {right[name]:6.1%}")
    if options.out is not None:
        write_rule(options.out, learn([part for name, part in parts.items() if name != EXAMPLE]))
    shares = {name: round(share, 4) for name, share in right.items()}
    means = {"mean": round(float(np.mean(list(right.values()))), 4), "worst": min(shares.values())}
    print(json.dumps({"experiment": "learned_ground", **means, "left_out": shares}))
    return 0


if __name__ == "__main__":
    program.run("eval.experiments.learned_ground")
