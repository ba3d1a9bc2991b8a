"""Paths as people write them, on every command line: whatever signs are in a name, it is taken as it stands.

Hydra's grammar gives a meaning to commas, brackets, quotes and `=`, and refuses accents; OmegaConf replaces `${...}`;
a shell's `~` reaches us where it stands behind `=`. Here they are signs of a name.
"""

import copy
import os
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig

from worldgen.errors import UserError

KEYS = (
    *("image", "images", "out", "runs", "scene.views", "scene.points"),
    *("frames", "controlnet.latents"),
    *("protocol.truth", "protocol.photos", "table.runs", "table.scores", "*.path", "*.checkout"),
)
"""What takes the path of a file or folder, in any program; `null` is none, and `./null` a file of that name."""
_LISTED = ("frames",)  # may be a list of paths, in brackets
_MADE_HERE = ("out", "table.scores")  # need not be there before


def as_override(argument: str, several: bool = False) -> str:
    """`key=path` as Hydra's grammar takes it, whatever signs are in the path; other arguments as they are.

    several: a comma parts paths, but in names that are there, and in `out`. What is in quotes already stays.
    """
    key, equals, value = argument.partition("=")
    if not equals or value == "null" or not any(fnmatchcase(key, pattern) for pattern in KEYS):
        return argument
    if not _is_there(value) and (_means_more(argument, several) or (key in _LISTED and value.startswith("["))):
        return argument
    parts = _split(value) if several and key not in _MADE_HERE else [value]
    return f"{key}=" + ",".join(quote(part) for part in parts)


def quote(text: str) -> str:
    """As Hydra's grammar, and OmegaConf behind it, take any text."""
    return QuotedString(literal(text), Quote.single).with_quotes()


def literal(text: str) -> str:
    """As OmegaConf takes any text: `${` stays what it is."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)


def resolve(config: DictConfig | ListConfig) -> None:
    """Puts values in the place of interpolations; text that only looks like one stays text."""
    for key in _keys(config):
        if _node(config, key)._is_interpolation():
            value = config[key]
            config[key] = literal(value) if isinstance(value, str) else value
        _into(config, key, resolve)


def resolved_twice(config: DictConfig) -> DictConfig:
    """A copy for those who resolve a config and then read it, as Hydra's `instantiate` does: after both, text is what
    it is here."""
    found = copy.deepcopy(config)
    resolve(found)
    _make_literal(found)
    return found


def user_path(text: str | Path) -> Path:
    """A path that a person wrote: `~` and `~name` are homes, where there is such a user; a file may be called so too.

    Raises UserError for a home that is not known, where no such file is.
    """
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError as error:
        if _is_there(str(path)):
            return path
        home = path.parts[0]
        raise UserError(f"{path}: no home {home} is known, wanted a path (./{home} for what is called so)") from error


def _make_literal(config: DictConfig | ListConfig) -> None:
    for key in _keys(config):
        child = _node(config, key)
        if isinstance(child._value(), str):
            child._set_value(literal(child._value()))
        _into(config, key, _make_literal)


def _keys(config: DictConfig | ListConfig) -> list[Any]:
    return list(range(len(config)) if isinstance(config, ListConfig) else config)


def _node(config: DictConfig | ListConfig, key: Any) -> Any:
    """What stands at a key, unresolved."""
    return config._get_node(key)


def _into(config: DictConfig | ListConfig, key: Any, change: Callable[[DictConfig | ListConfig], None]) -> None:
    child = _node(config, key)
    if isinstance(child, DictConfig | ListConfig) and not child._is_none() and not child._is_missing():
        change(child)


def _means_more(argument: str, several: bool) -> bool:
    """Whether it is in Hydra's own words: in quotes, or with `several` a sweep's function such as `choice(...)`."""
    try:
        read = OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    if not read.is_sweep_override():
        return isinstance(read._value, QuotedString)
    return several and (_has_quotes(read) or not re.fullmatch(r"[^()]*", read.get_value_string()))


def _has_quotes(read: Override) -> bool:
    return any(isinstance(value, QuotedString) for value in getattr(read._value, "list", ()))


def _split(value: str) -> list[str]:
    """The paths in a list parted by commas: each as much of it as is there, or else up to the next comma."""
    parts: list[str] = []
    rest = value.split(",")
    while rest:
        taken = next((n for n in range(len(rest), 0, -1) if _is_there(",".join(rest[:n]))), 1)
        parts.append(",".join(rest[:taken]))
        rest = rest[taken:]
    return parts


def _is_there(text: str) -> bool:
    try:
        return bool(text) and (Path(text).exists() or Path(text).expanduser().exists())
    except (OSError, RuntimeError, ValueError):  # a name too long, no such home, a zero in it
        return False


def as_overrides(arguments: Sequence[str], several: bool = False) -> list[str]:
    """`as_override` of each."""
    return [as_override(argument, several) for argument in arguments]


def cache_dir() -> Path:
    """Of fetched files: `WORLDGEN_CACHE`, or the user's cache folder. Raises UserError where no home is known."""
    by_hand = os.environ.get("WORLDGEN_CACHE")
    if by_hand:
        return user_path(by_hand)
    import platformdirs

    found = platformdirs.user_cache_path("worldgen")
    if not found.is_absolute():  # "~/.cache", which would become a folder called ~ here
        raise UserError("WORLDGEN_CACHE: not set and no home is known, wanted a folder to keep networks in")
    return found
