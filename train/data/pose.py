"""Finds the poses, lenses and depths of bare frames, for a ControlNet or Gaussians to be trained on:
python -m train.data.pose frames=video/frames"""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import partial

from omegaconf import DictConfig

from train.data.bare_frames import bare_scenes
from train.data.check import STATUS_BROKEN
from train.data.chosen_depth import chosen_depth
from train.data.found_poses import Found, PoseMaker, PoseSettings
from train.data.metric_depth import MetricDepth, NetworkFailedError
from worldgen import command, program
from worldgen.config import compose_program, instantiate
from worldgen.errors import UserError, expect, is_whole
from worldgen.models.protocols import PoseEstimator
from worldgen.present.console import Reporter

USAGE = """\
Finds out where bare frames were taken, by what lens, and the depth of what they show, and writes a scene of them.

  python -m train.data.pose frames=video/frames
  python -m train.data.pose frames=scenes every=5 poses.download=true depth.shape.download=true
  python -m train.data.pose frames=scenes metric_frames=0

A scene is a folder with pictures, or with `images` that has some; frames come in the order of their names, 2 before 10,
and what lies in a scene's other folders is none. Into it go transforms.json, as nerfstudio has it, a depth for each
frame and a cloud of points, all in one unit; data=posed trains on it, scene=folder fits it. A long sequence is posed in
parts that share frames, moved together by those. Poses that are there stay; killed, the same command goes on. Several
of it may run at once, each at scenes of its own. The last line printed is one JSON object; the exit status is 0 where
all went well, 1 where a frame or a scene cannot be used, 2 for a key or value that does not fit.

keys
  frames         a folder of frames, a folder of such, or a list
  every          of so many frames, by their names, the first is used (default: 1)
  size           pixels of the longer side that frames are reduced to, and that depths have (default: 504)
  at_once        frames that the network sees together (default: 24)
  shared         of them, those that the part before has seen (default: 6)
  metric_frames  of so many the depth is asked in metres, for the unit (default: 8); 0 = the network's own unit
  unsure         share of a scene's pixels, the least sure ones, whose depth is left out (default: 0.1)
  points         in the scene's cloud, at most (default: 200000)
  quiet          quiet=true prints nothing but errors and the last line
  poses.*        the network, for example poses.download=true
  depth.*        the network that answers metres, for example depth.shape.download=true
  runtime.*      where they run, for example runtime.device=cuda

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    return command.begin(arguments, USAGE, partial(command.describe_groups, "data_pose"), _obey, "every=5")


def _obey(arguments: Sequence[str]) -> None:
    config = compose_program("data_pose", arguments)
    expect("every", config.every, is_whole(config.every) and config.every >= 1, "1 or more")
    settings = PoseSettings(**{field.name: config[field.name] for field in fields(PoseSettings)})
    scenes = bare_scenes(config.frames, config.every)
    estimator, metric = _estimators(config)
    reporter = Reporter(config.quiet)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    named = str(getattr(estimator, "named", type(estimator).__name__))
    runtime = instantiate(config.runtime)
    maker = PoseMaker(estimator, metric, runtime, settings, named, reporter.track, tell)
    made, bad_scenes = list[Found](), 0
    try:
        for scene in reporter.track(scenes, len(scenes), "scenes"):
            try:
                found = maker(scene)
            except UserError as error:
                bad_scenes += 1
                tell(str(error))
                continue
            reporter.note(found.line(scene.name))
            made.append(found)
    except NetworkFailedError as error:
        raise UserError(str(error)) from error
    finally:
        reporter.close()
        estimator.release()
        if metric is not None:
            metric.release()
    bad_frames = sum(found.bad for found in made)
    counts = {"scenes": len(scenes), "bad_scenes": bad_scenes, "bad_frames": bad_frames}
    print(json.dumps({**counts, **_counts(made), "network": named}))
    if bad_scenes or bad_frames:
        raise SystemExit(STATUS_BROKEN)


def _estimators(config: DictConfig) -> tuple[PoseEstimator, MetricDepth | None]:
    """What finds poses, and what tells metres, if anything shall."""
    return instantiate(config.poses), chosen_depth(config) if config.metric_frames else None


def _counts(made: Sequence[Found]) -> dict[str, object]:
    """What the last line says of the scenes that could be read."""
    joints = [joint for found in made for joint in found.joints]
    spreads = [found.spread for found in made if found.spread is not None]
    return {
        "there": sum(found.there for found in made),
        "elsewhere": sum(found.elsewhere for found in made),
        "frames": sum(found.frames for found in made),
        "in_metres": sum(found.metres is not None for found in made),
        "worst_spread": round(max(spreads), 3) if spreads else None,
        "worst_turn_deg": round(max(joint.turn_deg for joint in joints), 3) if joints else None,
        "worst_shift": round(max(joint.shift for joint in joints), 4) if joints else None,
        "worst_depth": round(max(joint.depth for joint in joints), 4) if joints else None,
    }


if __name__ == "__main__":
    program.run("train.data.pose")
