"""How often does a prompter know whether a photo was taken indoors, and how well does it know how sure it may be?

    python -m eval.benchmarks.indoors
    python -m eval.benchmarks.indoors --prompts recognised vlm

Asked of crops of the panoramas that registry packages carry: twelve directions, three fields of view, two shapes each.
Which of those are rooms is told here by hand; `bridge`, a covered footbridge of glass, is neither, and left out. A
panorama counts as much as any other. Beside each other stand the choices of `prompts`, asked of the same crops; below,
how many of the answers are right that were said to be so sure. The last line is one JSON object.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from eval.synthetic.panoramas import truth_panoramas
from worldgen import program
from worldgen.arguments import Parser
from worldgen.config import choice, choices, instantiate
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.models.protocols import Prompter
from worldgen.models.runtime import Runtime
from worldgen.types import Camera, Prompts

ROOMS = frozenset({"apartment", "esplanade", "hall", "lab", "lobby", "studio", "warehouse", "workshop"})
NEITHER = frozenset({"bridge"})
_YAWS_DEG, _FOVS_DEG, _WIDTHS, _HEIGHT = range(0, 360, 30), (50, 70, 90), (256, 341), 256
_KINDS = ("all", "indoors", "outdoors")


class Answer(NamedTuple):
    """right: whether a crop was taken for what it is; sure_percent: how sure the prompter said to be, if it did."""

    right: bool
    sure_percent: int | None


def crops(panorama: Tensor) -> Iterator[Tensor]:
    """Photos [3, H, W] that level cameras would take in a panorama [3, H, W]."""
    for yaw_deg in _YAWS_DEG:
        for fov_deg in _FOVS_DEG:
            for width in _WIDTHS:
                camera = Camera.from_fov(width, _HEIGHT, fov_deg, look_at(yaw_deg, 0))
                yield to_perspective(panorama, camera, "bicubic").clamp(0, 1)


def kind_of(name: str) -> str:
    """What a panorama is, by its name: indoors or outdoors."""
    return "indoors" if name in ROOMS else "outdoors"


def answer_of(prompts: Prompts, kind: str) -> Answer:
    """What prompts say of a crop of that kind."""
    sure = re.search(r"(\d+)% sure", prompts.source)
    return Answer(prompts.indoor == (kind == "indoors"), int(sure[1]) if sure else None)


def share_right(answers: Mapping[str, Sequence[Answer]], kind: str = "all") -> float:
    """The part of the crops that are right, a mean over panoramas of that kind, by name -> answers to its crops."""
    of_kind = [found for name, found in answers.items() if kind in ("all", kind_of(name))]
    return float(np.mean([np.mean([answer.right for answer in found]) for found in of_kind]))


def calibration(answers: Mapping[str, Sequence[Answer]]) -> dict[str, tuple[int, float]]:
    """Steps of ten per cent that the prompter was sure by -> how many answers were, and which part of them is right."""
    rights: dict[int, list[bool]] = {}
    for answer in (one for found in answers.values() for one in found):
        if answer.sure_percent is not None:
            rights.setdefault(min(9, answer.sure_percent // 10), []).append(answer.right)
    return {
        f"{10 * ten}-{10 * ten + 10}": (len(of), round(float(np.mean(of)), 3)) for ten, of in sorted(rights.items())
    }


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(prog="python -m eval.benchmarks.indoors", description=__doc__)
    every = choices("prompts")
    parser.add_argument(
        "--prompts", nargs="+", default=["recognised"], choices=every, metavar="CHOICE", help="of conf/"
    )
    names = parser.parse_args(arguments).prompts
    asked: dict[str, Prompter] = {name: instantiate(choice("prompts", name)) for name in names}
    for prompter in asked.values():
        prompter.load(Runtime())
    answers: dict[str, dict[str, list[Answer]]] = {name: {} for name in asked}
    print(f"{'':30} " + " ".join(f"{name:>12}" for name in asked))
    for name, panorama in truth_panoramas():
        if name in NEITHER:
            continue
        photos, kind = list(crops(panorama)), kind_of(name)
        for who, prompter in asked.items():
            answers[who][name] = [answer_of(prompter(photo), kind) for photo in photos]
        shares = [np.mean([answer.right for answer in answers[who][name]]) for who in asked]
        print(f"{name:20} {kind:9} " + " ".join(f"{share:12.0%}" for share in shares), flush=True)
    panoramas = next(iter(answers.values())).keys()
    if {kind_of(name) for name in panoramas} != {"indoors", "outdoors"}:
        raise UserError("panoramas: of one kind alone, wanted some of rooms and some of the open air")
    right = {who: {kind: round(share_right(found, kind), 3) for kind in _KINDS} for who, found in answers.items()}
    sure = {who: calibration(found) for who, found in answers.items()}
    for who in asked:
        said = ", ".join(f"{step} %: {share:.0%} of {count}" for step, (count, share) in sure[who].items())
        print(f"{who}: right, where it is sure by {said or 'nobody knows'}")
    print(json.dumps({"panoramas": len(panoramas), "right": right, "right_where_sure": sure, "wanted": 0.9}))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.indoors")
