"""How well is a photo's sky found pixel by pixel, and where does the rule for it come from?

    python -m eval.experiments.photo_skies
    python -m eval.experiments.photo_skies --photos <folder>
    python -m eval.experiments.photo_skies --write

The rule is logistic regression on cells of made-up photos of the panoramas that registry packages carry. Its figures
come from crops of each panorama by the rule that was learned from all others. --write replaces the rule that ships,
which is learned from all but the example photo's own. With --photos, photos that others took are asked as well, by that
rule: pictures beside which a PNG of the same name tells, <name>.sky.png, white where there is sky, black where there is
none, grey where nobody can tell. The last line is one JSON object.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.benchmarks.indoors import ROOMS
from eval.experiments.sky_crops import Photographer, SkyCrop, seen
from eval.synthetic.panoramas import EXAMPLE, read_rgb
from eval.synthetic.sky_truth import KnownSky, known_skies
from worldgen import program
from worldgen.arguments import Parser
from worldgen.embedded.efficientnet_lite import EfficientNetLite0, load_network
from worldgen.embedded.linear_rule import LinearRule, learned_rule, write_rule
from worldgen.embedded.photo_sky import CELL, RULE, cell_features, drawn, resized
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.models import assets
from worldgen.types import Camera

_PHOTOS, _CELLS = 160, 70  # of each panorama, of each photo
_PULL = 5e-3  # towards a rule that says nothing; chosen on panoramas left out, as are the network's blocks
_STEPS = 25
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_LEAST_SKY = 0.02  # of a crop, below which its intersection over union says little
_FOVS_DEG, _WIDTHS, _HEIGHT = (50, 70, 90), (256, 341), 256


class Cells(NamedTuple):
    """Of one photo. features: [N, FEATURES]; sky: [N] in 0..1; of: the panoramas that it shows."""

    features: Tensor
    sky: Tensor
    of: frozenset[str]


class Score(NamedTuple):
    """Of one picture: the share of sky in it, intersection over union of what was found, share of what was found."""

    share: float
    iou: float
    found: float


def cells_of(network: EfficientNetLite0, crop: SkyCrop, dice: Random) -> Cells:
    """Some cells of a made-up photo, by chance, of those that were told."""
    features = cell_features(network, crop.rgb).flatten(1)
    sky, told = F.avg_pool2d(torch.stack([crop.sky * crop.told, crop.told])[None], CELL)[0].flatten(1)
    sure = (told > 0.9).nonzero()[:, 0].tolist()
    chosen = torch.tensor(dice.sample(sure, min(_CELLS, len(sure))), dtype=torch.long)
    return Cells(features[:, chosen].T.half(), (sky / told.clamp(min=0.1))[chosen], crop.of)


def learned(cells: Sequence[Cells], without: str = "") -> LinearRule:
    """The rule that photos teach which show nothing of the panorama `without`."""
    used = [one for one in cells if without not in one.of and len(one.sky)]
    features, sky = torch.cat([one.features for one in used]).float(), torch.cat([one.sky for one in used])
    return learned_rule(features, sky, torch.full_like(sky, 1 / len(sky)), _PULL, _STEPS)


def score(found: Tensor, sky: Tensor, told: Tensor) -> Score:
    """All bool [H, W]; counted where it was told."""
    sky, found = sky & told, found & told
    pixels = max(1, int(told.sum()))
    union = max(1, int((sky | found).sum()))
    return Score(int(sky.sum()) / pixels, int((sky & found).sum()) / union, int(found.sum()) / pixels)


def scores_of(network: EfficientNetLite0, rule: LinearRule, panorama: KnownSky) -> list[Score]:
    """Of level crops in twelve directions; fields of view and shapes take turns."""
    scores = []
    for number in range(12):
        fov_deg, width = _FOVS_DEG[number % 3], _WIDTHS[number // 3 % 2]
        crop = seen(panorama, Camera.from_fov(width, _HEIGHT, fov_deg, look_at(30 * number, 0)))
        found = drawn(rule.odds(cell_features(network, resized(crop.rgb))), crop.rgb)
        scores.append(score(found, crop.sky > 0.5, crop.told > 0.5))
    return scores


def photo_scores(network: EfficientNetLite0, rule: LinearRule, folder: Path) -> dict[str, Score]:
    """Of the photos in a folder that have a PNG of their sky beside them. Raises UserError when none has."""
    scores = {}
    for truth in sorted(folder.glob("*.sky.png")):
        name = truth.name.removesuffix(".sky.png")
        pictures = [path for path in sorted(folder.iterdir()) if path.stem == name and path.suffix.lower() in _PICTURES]
        if not pictures:
            raise UserError(f"{truth}: no photo of that name beside it")
        label = read_rgb(truth)[0]
        rgb = F.interpolate(read_rgb(pictures[0])[None], label.shape, mode="area")[0]
        found = drawn(rule.odds(cell_features(network, resized(rgb))), rgb)
        scores[name] = score(found, label > 0.9, (label < 0.1) | (label > 0.9))
    if not scores:
        raise UserError(f"--photos: no <name>.sky.png in {folder}")
    return scores


def summary(scores: Mapping[str, Sequence[Score]]) -> dict[str, float]:
    """Of crops by their panorama's name: IoU where there is sky, and the share of rooms that was taken for sky."""
    ious = [one.iou for name, of in scores.items() if name not in ROOMS for one in of if one.share > _LEAST_SKY]
    rooms = [one.found for name, of in scores.items() if name in ROOMS for one in of]
    told = {"iou_median": np.median(ious), "iou_mean": np.mean(ious)} if ious else {}  # there may be no sky at all
    return {name: round(float(value), 4) for name, value in {**told, "false_in_rooms": np.mean(rooms)}.items()}


def main(arguments: Sequence[str], skies: Callable[[], Sequence[KnownSky]] = lambda: list(known_skies())) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(prog="python -m eval.experiments.photo_skies", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos of other cameras, with their skies")
    parser.add_argument("--write", action="store_true", help=f"replace {RULE.name}")
    options = parser.parse_args(arguments)
    network, dice = load_network(assets.fetch("efficientnet")), Random(0)
    panoramas = {one.name: one for one in skies()}
    if not (ROOMS & panoramas.keys() and panoramas.keys() - ROOMS):
        raise UserError("panoramas: of one kind alone, wanted some of rooms and some of the open air")
    photographer = Photographer(panoramas, dice)
    cells = [cells_of(network, photographer.take(name), dice) for name in panoramas for _ in range(_PHOTOS)]
    scores = {}
    for name, panorama in panoramas.items():
        scores[name] = scores_of(network, learned(cells, without=name), panorama)
        ious = [one.iou for one in scores[name] if one.share > _LEAST_SKY]
        said = f"IoU {np.mean(ious):.3f}" if ious and name not in ROOMS else ""
        print(f"{name:20} found on {np.mean([one.found for one in scores[name]]):6.1%}  {said}", flush=True)
    rule = learned(cells, without=EXAMPLE)
    photos = photo_scores(network, rule, options.photos) if options.photos else {}
    for name, one in photos.items():
        print(f"photo {name:14} sky {one.share:6.1%}, found on {one.found:6.1%}, IoU {one.iou:.3f}")
    if options.write:
        write_rule(RULE, rule)
    told = {name: {key: round(value, 3) for key, value in one._asdict().items()} for name, one in photos.items()}
    print(json.dumps({"panoramas": len(panoramas), "left_out": summary(scores), "photos": told}))
    return 0


if __name__ == "__main__":
    program.run("eval.experiments.photo_skies")
