"""Configs: composed from `conf/` by Hydra, for the command line and for Python alike, and checked before anything runs.

What a person can get wrong (a key, a choice, a value's type, the syntax) ends as a UserError that says what would do.
"""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from worldgen.caches import KERNELS
from worldgen.errors import UserError, expect, is_whole
from worldgen.paths import as_overrides, literal, resolve, resolved_twice, user_path
from worldgen.runs.naming import namesakes_among, run_folder

CONF_DIR = Path(__file__).parent / "conf"
RUNS_DIR = Path("runs")
PROGRAMS = {
    "config": "worldgen",
    "eval": "eval",
    "train": "train.splat",
    "controlnet": "train.controlnet",
    "small_diffusion": "train.small_diffusion",
    "data_check": "train.data.check",
    "data_depths": "train.data.depths",
    "data_pose": "train.data.pose",
}
"""What `python -m` runs, by the file in conf/ that its config begins with."""
_LISTS_KEYS = {
    "config": "python -m worldgen --cfg job",
    "eval": "python -m eval --help",
    "train": "python -m train.splat --cfg job",
    "controlnet": "python -m train.controlnet --cfg job",
    "small_diffusion": "python -m train.small_diffusion --cfg job",
    "data_check": "python -m train.data.check --help",
    "data_depths": "python -m train.data.depths --help",
    "data_pose": "python -m train.data.pose --help",
}
_OUR_PACKAGES = ("train", "eval")  # names that others' files have, too
OmegaConf.register_new_resolver(  # path: ${shipped:<name>}, of weights that come with the package
    "shipped", lambda name: str(Path(__file__).parent / "embedded" / name), replace=True
)
_NOT_TAKEN_AWAY = "{}: keys cannot be taken away, wanted {}=<value>"


def compose(image: str | Path | None, overrides: Sequence[str] = (), out: str | Path | None = None) -> DictConfig:
    """The config of one run, checked and complete.

    image: the photo; None where `overrides` name it. overrides: as on the command line. out: the run folder; None = as
    `overrides` say, or else runs/<the photo's name>. Raises UserError.
    """
    overrides = as_overrides(overrides)
    check(overrides)
    config = _compose(overrides)
    if image is not None:
        config.image = literal(str(image))
    if out is not None:
        config.out = literal(str(out))
    return finish(config, chosen={each.key_or_group: str(each.value()) for each in map(_parse, overrides)})


def compose_program(root: str, overrides: Sequence[str]) -> DictConfig:
    """The config of another program of ours, from the file `root` in conf/. Raises UserError."""
    overrides = as_overrides(overrides)
    check(overrides, root=root)
    config = _compose(overrides, root)
    with one_line_errors():
        resolve(config)
    return config


def instantiate(config: DictConfig) -> Any:
    """The object that a config describes by its `_target_`. Raises UserError where that cannot be made of it."""
    expect_ours(str(config.get("_target_", "")))
    with one_line_errors():
        return hydra.utils.instantiate(resolved_twice(config))


def expect_ours(target: str) -> None:
    """Raises UserError where somebody's own train.py would be imported for ours; a script's own folder comes first."""
    package = target.partition(".")[0]
    if package not in _OUR_PACKAGES:
        return
    there = sys.modules.get(package)
    spec = find_spec(package) if there is None else there.__spec__
    ours = Path(__file__).resolve().parents[1] / package
    if spec is not None and spec.origin and ours not in Path(spec.origin).resolve().parents:
        raise UserError(
            f"{spec.origin}: in the place of worldgen's own package {package}, wanted another folder to work in, or "
            "PYTHONSAFEPATH=1"
        )


def is_sweep(override: str) -> bool:
    """Whether it has several values. Raises UserError where it does not parse."""
    return _parse(override).is_sweep_override()


def check(overrides: Sequence[str], sweep: bool = False, root: str = "config") -> None:
    """Raises UserError for an override that does not parse or names a choice, a key or a kind of value that is not
    there, and for several values where `sweep` does not allow them. root: the file in conf/ that they change."""
    parsed = [_parse(override) for override in overrides]
    for override in parsed:
        if override.is_sweep_override() and not sweep:
            raise UserError(f"{override.input_line}: several values; -m makes a run of each (or quote the value)")
    plain_keys = OmegaConf.load(CONF_DIR / f"{root}.yaml")  # one program's key may be another's group
    choices = [
        override
        for override in parsed
        if (CONF_DIR / override.key_or_group).is_dir() and override.key_or_group not in plain_keys
    ]
    for override in choices:
        for single in _singles(override):
            _check_choice(single, root)
    plain = _compose([str(_singles(override)[0].input_line) for override in choices], root)
    for override in parsed:
        if override not in choices and not override.is_hydra_override():
            for single in _singles(override):
                _check_value(single, plain, root)


def finish(config: DictConfig, sweep_suffix: str = "", chosen: Mapping[str, str] | None = None) -> DictConfig:
    """Checks the values at the top and fills in the run folder. Raises UserError.

    sweep_suffix: tells the runs of a sweep apart; `out` is then the folder that holds them all. chosen: choices of
    groups, of which those without a key of their own are noted.
    """
    wanted = "only with -m, which makes a run for each photo of the folder"
    expect("images", config.images, config.images is None, wanted)
    if OmegaConf.is_missing(config, "image") or not str(config.image):
        raise UserError("image: missing, wanted image=<photo>, for example image=photo.jpg")
    expect("seed", config.seed, is_whole(config.seed) and config.seed >= 0, "a whole number from 0")
    if config.fov_deg is not None:
        from worldgen.geometry.fov_range import check_fov

        config.fov_deg = check_fov(config.fov_deg)
    image = user_path(str(config.image))
    out = None if config.out is None else user_path(str(config.out))
    if sweep_suffix or out is None:
        out = run_folder(out or RUNS_DIR, image, sweep_suffix, config.namesakes)
    config.image = literal(str(image))
    config.out = literal(str(out))
    config.chosen = {name: (chosen or {}).get(name) or choice for name, choice in config.chosen.items()}
    with one_line_errors():
        resolve(config)
    return config


def namesakes(overrides: Sequence[str]) -> list[str]:
    """The names that several photos of a sweep's overrides have, in small letters. Raises UserError where one of them
    does not parse."""
    parsed = [_parse(override) for override in overrides if override.startswith("image=")]
    return namesakes_among(Path(str(single.value())) for override in parsed for single in _singles(override))


def groups(root: str = "config") -> dict[str, list[str]]:
    """Config groups and their choices, by name, of the file `root` in conf/."""
    return {group: _fitting(group, root) for group in sorted(defaults(root))}


def choices(group: str) -> list[str]:
    """The names of a group's choices, sorted. A file whose name begins with `_` is none: choices are built on it."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml") if not path.stem.startswith("_"))


def choice(group: str, name: str) -> DictConfig:
    """What one choice of a group says by itself, with what it is built on; interpolations stay as they are.

    Raises UserError where there is no such choice.
    """
    there = choices(group)
    expect(f"{group}={name}", "no such choice", name in there, f"one of {', '.join(there)}")
    config, place = _compose([], f"{group}/{name}"), _package(CONF_DIR / group / f"{name}.yaml") or group
    return config if place == "_global_" else OmegaConf.select(config, place)


def defaults(root: str = "config") -> dict[str, str | None]:
    """The choice of each config group that is made where none is named."""
    entries = [entry for entry in OmegaConf.load(CONF_DIR / f"{root}.yaml").defaults if OmegaConf.is_dict(entry)]
    return {group: choice for entry in entries for group, choice in entry.items() if group.isidentifier()}


def _fitting(group: str, root: str) -> list[str]:
    """A group's choices that this program can make: those that set keys all over the config, as experiments do, have to
    know the keys of this program alone."""
    files = {name: CONF_DIR / group / f"{name}.yaml" for name in choices(group)}
    everywhere = {name for name, file in files.items() if _package(file) == "_global_"}
    known: set[Any] = {*OmegaConf.load(CONF_DIR / f"{root}.yaml"), *defaults(root), "hydra"} if everywhere else set()
    return [name for name, file in files.items() if name not in everywhere or set(OmegaConf.load(file)) <= known]


def _package(choice: Path) -> str:
    """Where a choice's first line puts its keys; empty where it does not say, which means: under its group's name."""
    told = re.match(r"# @package (\S+)", choice.read_text(encoding="utf-8"))
    return told[1] if told else ""


def _compose(overrides: Sequence[str], root: str = "config") -> DictConfig:
    others = GlobalHydra.instance().hydra  # of a program that uses Hydra itself and calls us
    GlobalHydra.instance().clear()
    try:
        with one_line_errors(), hydra.initialize_config_dir(str(CONF_DIR.resolve()), version_base="1.3"):
            return hydra.compose(root, overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = others


def _parse(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise UserError(f"{override}: cannot be read, wanted key=value ({_first_line(error)})") from error


def _singles(override: Override) -> list[Override]:
    """A sweep's values, each as an override of its own."""
    if not override.is_sweep_override():
        return [override]
    return [_parse(f"{override.get_key_element()}={value}") for value in override.sweep_string_iterator()]


def _check_choice(override: Override, root: str) -> None:
    group, choice = override.key_or_group, override.value()
    if group.startswith("hydra/"):
        return  # Hydra and its plugins bring choices of their own
    if group not in defaults(root):
        raise UserError(f"{group}: no such key of python -m {PROGRAMS[root]}")
    if override.type is OverrideType.DEL:
        raise UserError(_NOT_TAKEN_AWAY.format(override.input_line, group))
    there = _fitting(group, root)
    if choice not in there:  # nor can it be null: Hydra stumbles over that
        raise UserError(f"{override.input_line}: no such choice, wanted one of {', '.join(there)}")


def _check_value(override: Override, plain: DictConfig, root: str) -> None:
    """Compares an override with the config as it is without: its key must be there, its value of the same kind."""
    key = override.key_or_group
    parent, _, name = key.rpartition(".")
    holder = OmegaConf.select(plain, parent) if parent else plain
    if override.type is OverrideType.ADD or not isinstance(holder, ListConfig | DictConfig) or not _has(holder, name):
        raise UserError(f"{key}: no such key{_did_you_mean(key, plain, root)}")
    if override.type is OverrideType.DEL:
        raise UserError(_NOT_TAKEN_AWAY.format(override.input_line, key))
    if OmegaConf.is_missing(holder, name):
        return
    default, value = OmegaConf.select(plain, key), override.value()
    wanted, found = _kind(default), _kind(value)
    fits = wanted == found or "anything" in (wanted, found)
    expect(key, repr(value), fits, f"{wanted} (as {default!r})")


def _has(holder: DictConfig | ListConfig, name: str) -> bool:
    if isinstance(holder, ListConfig):
        return name.isdecimal() and int(name) < len(holder)
    return name in list(holder)  # `in holder` itself is False for a value that is still missing


def _kind(value: Any) -> str:
    if value is None or (isinstance(value, str) and value.startswith("${")):
        return "anything"
    for kind, types in (("true or false", bool), ("a number", int | float), ("text", str)):
        if isinstance(value, types):
            return kind
    return "a list" if isinstance(value, list | ListConfig) else "a group of keys"


def _did_you_mean(key: str, plain: DictConfig, root: str) -> str:
    known = list(_keys(plain))
    name = key.rpartition(".")[2]
    same_name = [other for other in known if other.rpartition(".")[2] == name]
    close = same_name or difflib.get_close_matches(key, known, n=1)
    return f", did you mean {' or '.join(close[:3])}?" if close else f"; {_LISTS_KEYS[root]} lists them all"


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in node:
        key = f"{prefix}{name!s}"
        yield key
        if not OmegaConf.is_missing(node, name) and isinstance(node[name], DictConfig):
            yield from _keys(node[name], f"{key}.")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what Hydra and OmegaConf raise about a config into a UserError."""
    try:
        yield
    except InstantiationException as error:
        cause = _cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        key = re.search(r"full_key: (\S+)", str(error))
        raise UserError(
            f"{key[1] if key else 'config'}: cannot be set up ({_first_line(cause)}){_hint(cause)}"
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_first_line(error)) from error


def _cause(error: BaseException) -> BaseException:
    """What is behind Hydra's own exceptions, and behind an import that failed."""
    while error.__cause__ is not None and isinstance(error, HydraException | ImportError):
        error = error.__cause__
    return error


def _hint(error: BaseException) -> str:
    """What to do about an error of numba's, which says only what it is that it cannot do."""
    return f"; {KERNELS} names a folder that can be written" if "cannot cache function" in str(error) else ""


def _first_line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error).strip().partition("\n")[0]) or type(error).__name__
