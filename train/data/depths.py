"""Makes the depth of posed pictures that come without, as DL3DV-10K does, for a ControlNet to be trained on:
python -m train.data.depths data=dl3dv data.scenes.folders=DL3DV-ALL-960P"""

import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from omegaconf import DictConfig

from train.data.check import STATUS_BROKEN
from train.data.chosen_depth import chosen_depth
from train.data.estimated_depth import METRES, POINTS, SCENE, SHIFTED, DepthMaker, Made
from train.data.measured_folders import MeasuredFolder
from train.data.metric_depth import NetworkFailedError
from worldgen import command, program
from worldgen.config import compose_program, instantiate
from worldgen.errors import UserError, expect, is_whole
from worldgen.present.console import Reporter

USAGE = """\
Estimates the depth of posed pictures that come without, and writes it where training looks for it.

  python -m train.data.depths data=dl3dv data.scenes.folders=DL3DV-ALL-960P
  python -m train.data.depths data=dl3dv data.scenes.folders=DL3DV-ALL-960P depth=paper
  python -m train.data.depths data=posed data.scenes.folders=rooms data.scenes.depth=depth depth=moge_small

A depth is brought to the unit of the poses by points that the picture sees: those that came with the scene, or those of
a COLMAP model beside, or else some that are triangulated from its pictures. A picture that sees too few of them is
scaled as the others of its scene; where there are none at all, depths stay in metres. A line for each scene says which.
Depths that are there stay; killed, the same command goes on. Several of it may run at once, each at scenes of its own.
The last line printed is one JSON object; the exit status is 0 where all went well, 1 where a picture or a scene cannot
be used, 2 for a key or value that does not fit.

keys
  size           pixels of the shorter side of the depths, and of what the network sees (default: 512)
  triangulated   from so many pictures of a scene without points some are triangulated, at most; 0 = none (default: 100)
  quiet          quiet=true prints nothing but errors and the last line
  data.*         whose depth is made, for example data.scenes.folders=DL3DV-ALL-960P
  depth.*        the network, for example depth.shape.download=true
  runtime.*      where it runs, for example runtime.device=cuda

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    return command.begin(arguments, USAGE, partial(command.describe_groups, "data_depths"), _obey, "size=256")


def _obey(arguments: Sequence[str]) -> None:
    config = compose_program("data_depths", arguments)
    expect("size", config.size, is_whole(config.size) and config.size >= 32, "32 pixels or more")
    fits = is_whole(config.triangulated) and (config.triangulated == 0 or config.triangulated >= 3)
    expect("triangulated", config.triangulated, fits, "0 (none) or 3 and more")
    estimator = chosen_depth(config)
    scenes = _scenes(config)
    reporter = Reporter(config.quiet)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    maker = DepthMaker(estimator, config.size, config.triangulated, reporter.track, tell)
    whole, bad_scenes, elsewhere = Made(), 0, 0
    try:
        for scene in reporter.track(scenes, len(scenes), "scenes"):
            try:
                made = maker(scene)
            except UserError as error:
                bad_scenes += 1
                tell(str(error))
                continue
            reporter.note(made.line(scene.name))
            elsewhere += made.elsewhere
            whole = _sum(whole, made)
    except NetworkFailedError as error:
        raise UserError(str(error)) from error
    finally:
        reporter.close()
        estimator.release()
    scaled = {how: whole.scaled[how] for how in (POINTS, SHIFTED, SCENE, METRES)}
    counts = {"scenes": len(scenes), "bad_scenes": bad_scenes, "elsewhere": elsewhere, "views": whole.views}
    counts |= {"there": whole.there, "made": sum(scaled.values()), "bad_views": whole.bad}
    off = round(statistics.median(whole.errors), 4) if whole.errors else None
    print(json.dumps({**counts, "scaled_by": scaled, "error": off, "network": estimator.name}))
    if bad_scenes or whole.bad:
        raise SystemExit(STATUS_BROKEN)


def _scenes(config: DictConfig) -> list[MeasuredFolder]:
    """Raises UserError for data that have depth of their own, and where nobody says in which folder it belongs."""
    scenes: Any = instantiate(config.data.scenes)
    ours = [scene for scene in scenes if isinstance(scene, MeasuredFolder)]
    if len(ours) != len(scenes):
        raise UserError("data: has depth of its own, wanted posed pictures: data=dl3dv, tanks_and_temples or posed")
    if any(scene.depth is None for scene in ours):
        raise UserError("data.scenes.depth: null, wanted the folder in each scene to write to: data.scenes.depth=depth")
    return ours


def _sum(whole: Made, made: Made) -> Made:
    counts: Counter[str] = whole.scaled + made.scaled
    views, there, bad = whole.views + made.views, whole.there + made.there, whole.bad + made.bad
    return Made(views, there, bad, counts, whole.errors + made.errors)


if __name__ == "__main__":
    program.run("train.data.depths")
