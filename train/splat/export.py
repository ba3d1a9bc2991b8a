"""The finished Gaussians as files for others, in the world that the poses came from as far as a file can hold that."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldgen.geometry.world_frame import gaussians_out_of
from worldgen.recipe.export import ExportSettings, write_world
from worldgen.types import Gaussians, WorldFrame

WORLD_FILES = ("world.html", "world.ply", "world.spz")
FRAMES_FILE = "world.json"
_FITTED = "splat/gaussians.safetensors"
_FARTHEST = 1600.0  # units of the fit: that far from its world's origin, float32 still tells a ten-thousandth of one
_SPZ_SCALES = 0.25, 30.0  # .spz has steps of 0.24 mm, and Gaussians of 0.05 mm to 380 m
_AS_IT_IS = WorldFrame()
_MEANING = "a place p of a file is scale * p + offset in the world of the poses that were fitted"

_log = logging.getLogger("worldgen")


def files_of(frame: WorldFrame) -> tuple[str, ...]:
    """What `export_world` writes."""
    return WORLD_FILES if frame == _AS_IT_IS else (*WORLD_FILES, FRAMES_FILE)


def export_world(gaussians: Gaussians, frame: WorldFrame, folder: Path, title: str) -> dict[str, Any]:
    """Writes the files to `folder`. gaussians: as they were fitted; frame: how that lies in the poses' world.

    .ply and .spz are in the poses' world; without its offset where float32 could not hold that, and .spz as fitted
    where its steps are too coarse or its range too small. .html is as fitted: viewers walk in steps of a metre.
    world.json, if the frames differ, tells for each file, and for the Gaussians, what remains to be done.
    """
    for name in WORLD_FILES:
        write_world(gaussians_out_of(_frame_in(name, frame), gaussians), folder / name, ExportSettings(), title)
    if frame == _AS_IT_IS:
        return {}
    remaining = {name: _remaining(frame, _frame_in(name, frame)) for name in (*WORLD_FILES, _FITTED)}
    told = {name: asdict(one) for name, one in remaining.items()}
    (folder / FRAMES_FILE).write_text(json.dumps({"meaning": _MEANING, **told}, indent=1) + "\n", encoding="utf-8")
    for name in ("world.ply", "world.spz"):
        if remaining[name] != _AS_IT_IS:
            offset = ", ".join(f"{value:.8g}" for value in remaining[name].offset)
            _log.warning(
                "%s: cannot hold the poses' coordinates, so its origin lies at (%s) there, and its unit is %.6g: %s",
                name,
                offset,
                remaining[name].scale,
                FRAMES_FILE,
            )
    return {}


def _frame_in(name: str, frame: WorldFrame) -> WorldFrame:
    """How the fit's frame lies in what this file holds."""
    if name not in ("world.ply", "world.spz"):
        return _AS_IT_IS
    if name == "world.spz" and not _SPZ_SCALES[0] <= frame.scale <= _SPZ_SCALES[1]:
        return _AS_IT_IS
    far = max(map(abs, frame.offset)) > _FARTHEST * frame.scale
    return WorldFrame(scale=frame.scale) if far else frame


def _remaining(frame: WorldFrame, done: WorldFrame) -> WorldFrame:
    """From a file's world to the poses'."""
    if done == frame:
        return _AS_IT_IS
    scale = frame.scale / done.scale
    x, y, z = (o - scale * d for o, d in zip(frame.offset, done.offset, strict=True))
    return WorldFrame((x, y, z), scale)
