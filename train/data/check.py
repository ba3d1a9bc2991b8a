"""Walks a data set that a ControlNet is to be trained on and says what is missing or broken in it:
python -m train.data.check data=dl3dv data.scenes.folders=DL3DV-ALL-960P"""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from train.data.measured_views import MeasuredScene
from worldgen import command, program
from worldgen.config import compose_program, instantiate
from worldgen.errors import UserError, expect, is_whole
from worldgen.present.console import Reporter
from worldgen.progress import Track

USAGE = """\
Walks data that a ControlNet is to be trained on and says what is missing or broken, one line for each fault.

  python -m train.data.check data=dl3dv data.scenes.folders=DL3DV-ALL-960P
  python -m train.data.check data=scannetpp data.scenes.folders=scannetpp every=10

A scene whose poses cannot be read, a frame without its file or without a pose, a picture or a depth that is missing,
unreadable, of another size, NaN or not above 0. The last line printed is one JSON object; the exit status is 0 where
nothing is broken, 1 where something is, 2 for a key or value that does not fit.

keys
  every          one of so many views of each scene is read (default: 1)
  most_lines     faults that are told, the others are counted (default: 20)
  quiet          quiet=true prints nothing but errors and the last line
  data.*         what is looked through, for example data.size=512

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""
STATUS_BROKEN = 1
_LEFT_OUT = "left out"  # in what readers of poses warn of, where frames are missing something

_log = logging.getLogger("worldgen")


@dataclass
class Faults:
    """What was looked at, and what is wrong with it. lines: for a person, each with the file that it is about."""

    scenes: int = 0
    views: int = 0
    bad_scenes: int = 0
    incomplete_scenes: int = 0
    bad_views: int = 0
    lines: list[str] = field(default_factory=list)


def check_scenes(
    scenes: Sequence[MeasuredScene], size: int, every: int, track: Track, tell: Callable[[str], None]
) -> Faults:
    """Reads the poses of all scenes and one of `every` views at size x size pixels; `tell` gets each fault's line."""
    faults = Faults()

    def add(line: str) -> None:
        faults.lines.append(line)
        tell(line)

    for scene in track(scenes, len(scenes), "scenes"):
        faults.scenes += 1
        try:
            with _warnings() as warned:
                count = len(scene.cameras())
            left_out = [line for line in warned if _LEFT_OUT in line]
            for line in left_out:
                add(line)
            faults.incomplete_scenes += bool(left_out)
            if not count:
                raise UserError(f"{scene.name}: no views, wanted some")
        except UserError as error:
            faults.bad_scenes += 1
            add(str(error))
            continue
        numbers = range(0, count, every)
        for number in track(numbers, len(numbers), scene.name):
            faults.views += 1
            try:
                scene.view(number, size)
            except UserError as error:
                faults.bad_views += 1
                add(str(error))
    return faults


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    return command.begin(arguments, USAGE, partial(command.describe_groups, "data_check"), _obey, "data.size=64")


def _obey(arguments: Sequence[str]) -> None:
    config = compose_program("data_check", arguments)
    expect("every", config.every, is_whole(config.every) and config.every >= 1, "1 or more")
    expect("most_lines", config.most_lines, is_whole(config.most_lines) and config.most_lines >= 0, "0 or more")
    expect("data.size", config.data.size, is_whole(config.data.size) and config.data.size >= 32, "32 pixels or more")
    scenes: Any = instantiate(config.data.scenes)
    told = 0

    def tell(line: str) -> None:
        nonlocal told
        told += 1
        if told <= config.most_lines and not config.quiet:
            print(line, file=sys.stderr)

    reporter = Reporter(config.quiet)
    try:
        faults = check_scenes(scenes, config.data.size, config.every, reporter.track, tell)
    finally:
        reporter.close()
    if told > config.most_lines and not config.quiet:
        print(f"... and {told - config.most_lines} more", file=sys.stderr)
    facts = {name: value for name, value in vars(faults).items() if name != "lines"}
    print(json.dumps({**facts, "faults": len(faults.lines), "first": faults.lines[0] if faults.lines else None}))
    if faults.lines:
        raise SystemExit(STATUS_BROKEN)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is warned of meanwhile, instead of being shown."""
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    keeper, propagates = Keeper(logging.WARNING), _log.propagate
    _log.addHandler(keeper)
    _log.propagate = False
    try:
        yield found
    finally:
        _log.removeHandler(keeper)
        _log.propagate = propagates


if __name__ == "__main__":
    program.run("train.data.check")
