"""Our own run folders as something to score: what is finished in them, what they were made with, why they stopped."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from PIL import Image

from eval.protocols.picture_sources import PanoramaView
from worldgen.config import choice, choices
from worldgen.errors import UserError
from worldgen.runs.artifacts import load_json
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import PANORAMA, PROMPTS, SPLAT

GROUP = "group"
_ERRORS = ("ERROR", "CRITICAL")
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) \S+: (?P<message>.*)")


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder. photo_name: of the file that it began with; config: the finished steps' groups, and the seed;
    finished: names of steps."""

    folder: Path
    photo_name: str
    photo_sha256: str
    config: Mapping[str, Any]
    finished: frozenset[str]

    @property
    def seed(self) -> int:
        """What the run's draws began with."""
        return int(self.config.get("seed", 0))

    @property
    def panorama(self) -> Path | None:
        """The panorama, refined if it was; None where that step never finished."""
        return _path_or_none(RunReader(self.folder).panorama_path) if PANORAMA in self.finished else None

    @property
    def splats(self) -> Path | None:
        """The finished splats' file; None where that step never finished."""
        return _path_or_none(RunReader(self.folder).gaussians_path) if SPLAT in self.finished else None

    @property
    def prompt(self) -> str | None:
        """What the scene was said to be, if it was."""
        try:
            return load_json(RunReader(self.folder).path(PROMPTS, "prompts.json")).get("atmosphere")
        except (OSError, UserError):
            return None

    @property
    def lens(self) -> str | None:
        """The photo's horizontal angle and its width over its height, "81.7 1.5"; None where its camera is not known,
        as in folders of an earlier layout."""
        try:
            camera = RunReader(self.folder).camera()
        except (OSError, UserError):
            return None
        return f"{camera.fov_deg:.6g} {camera.width / camera.height:.6g}"

    def value(self, key: str) -> str | None:
        """A setting, such as `panorama.heuristic`, as text (true, 0.5, ...); None where it is not known.

        The names of the folders of a sweep, `photo-prompts=coarse`, tell which choice of a whole group was made, and
        a setting of a run whose step never finished. `group` is, as for W&B, the name of the folder that holds the run.
        """
        if key == GROUP:
            return self.folder.resolve().parent.name
        node: Any = self.config
        for name in key.split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        if node is not None and not isinstance(node, Mapping):
            return _as_text(node)
        group, _, rest = key.partition(".")
        return None if group in self.config and rest else _told_by_name(self.folder.name, group, rest)

    def why_without(self, step: str) -> str:
        """Why a step never finished, as log.txt has it."""
        level, message = _last_words(self.folder / "log.txt")
        if not message:
            return f"no finished {step} step, and no log.txt that says why"
        verb = "says" if level in _ERRORS else "ends with"
        return f"no finished {step} step; its log {verb}: {message}"

    def photo(self) -> PanoramaView | None:
        """The photo, seen in the panorama, where its own pixels lie unchanged, by the camera that took it; the front
        view where all of the panorama is photo. At the panorama's resolution,
        or the photo's own where that is lower. None where the camera is not known, as in
        folders of an earlier layout."""
        reader = RunReader(self.folder)
        try:
            camera = reader.camera()
            picture = reader.existing(PANORAMA, "panorama.png")
            with Image.open(picture) as image:
                scale = min(1.0, image.width / (2 * math.pi) / camera.fx)
        except (OSError, UserError):
            return None
        size = (max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
        return PanoramaView(picture, 0.0, 0.0, camera.fov_deg, size)


def is_run(folder: Path) -> bool:
    """Whether a folder holds what `python -m worldgen` made."""
    return RunReader(folder).manifest_path.is_file()


def read_run(folder: Path) -> Run:
    """Raises UserError where the manifest is not one that a run writes."""
    path = RunReader(folder).manifest_path
    try:
        manifest = load_json(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    photo, steps = manifest.get("photo"), manifest.get("steps")
    if not isinstance(photo, dict) or not isinstance(steps, dict):
        raise UserError(f"{path}: tells of no photo or no steps, wanted the manifest of a run folder")
    config: dict[str, Any] = {}
    for step in steps.values():
        config |= step.get("config", {}) if isinstance(step, dict) else {}
    return Run(folder, str(photo.get("name", "")), str(photo.get("sha256", "")), config, frozenset(steps))


def _path_or_none(find: Callable[[], Path]) -> Path | None:
    try:
        return find()
    except UserError:
        return None


def _told_by_name(folder: str, group: str, rest: str) -> str | None:
    """The value of `group.rest` by the overrides in a folder's name: its own, or that of the group's choice."""
    overrides = dict(part.split("=", 1) for part in folder.split("-") if "=" in part)
    if (exact := overrides.get(f"{group}.{rest}" if rest else group)) is not None:
        return exact
    name = overrides.get(group)
    value = OmegaConf.select(choice(group, name), rest) if rest and name in choices(group) else None
    return None if value is None else _as_text(value)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _last_words(log: Path) -> tuple[str, str]:
    """Level and text of the last error in a log, or else of its last line; empty without a log. Times are left out:
    they would make every table another one."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    found = [match for line in lines if (match := _LOG_LINE.match(line))]
    errors = [match for match in found if match["level"] in _ERRORS]
    last = (errors or found)[-1:]
    return (last[0]["level"], " ".join(last[0]["message"].split())) if last else ("", "")
