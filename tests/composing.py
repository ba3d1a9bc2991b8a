"""What Hydra makes of conf/ is kept for a whole session: a composition takes 0.3 s, and tests ask for hundreds.

What a test sets besides its choices is applied anew each time. Some of what is patched is private to Hydra.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from worldgen.config import CONF_DIR

OURS = str(CONF_DIR.resolve())


def remember(patch: pytest.MonkeyPatch) -> None:
    """Keeps whole configs, the choices' merged files, which files these are, and what is in each; `patch` undoes it."""
    patch.setattr(yaml, "SafeLoader", yaml.CSafeLoader)  # OmegaConf's base: the same answers, in a third less time
    patch.setattr(OmegaConf, "load", staticmethod(_read(OmegaConf.load)))
    patch.setattr(hydra, "compose", _whole(hydra.compose))
    patch.setattr(defaults_list, "_create_defaults_list", _which_files(defaults_list._create_defaults_list))
    patch.setattr(ConfigRepository, "load_config", _file(ConfigRepository.load_config))
    method = "_compose_config_from_defaults_list"
    patch.setattr(ConfigLoaderImpl, method, _merged_files(getattr(ConfigLoaderImpl, method)))


def _read(load: Callable) -> Callable:
    known: dict[Path, Any] = {}

    def remembered(file: Any) -> Any:
        if not isinstance(file, str | Path) or CONF_DIR not in Path(file).parents:
            return load(file)
        if Path(file) not in known:
            known[Path(file)] = load(file)
        return copy.deepcopy(known[Path(file)])

    return remembered


def _whole(compose: Callable) -> Callable:
    known: dict[str, Any] = {}

    def remembered(*arguments: Any, **named: Any) -> Any:
        places = GlobalHydra.instance().config_loader().get_search_path().get_path()
        if not _is_ours([str(place.path) for place in places]):
            return compose(*arguments, **named)
        key = repr((arguments, sorted(named.items())))
        if key not in known:
            known[key] = compose(*arguments, **named)
        return copy.deepcopy(known[key])

    return remembered


def _which_files(listed: Callable) -> Callable:
    """The overrides are told what became of them: which were used, and what there was to choose from."""
    known: dict[str, Any] = {}

    def remembered(repo: Any, config_name: str | None, overrides: Any, **named: Any) -> Any:
        if not _is_ours([source.full_path() for source in repo.get_sources()]):
            return listed(repo, config_name, overrides, **named)
        told = {name: value for name, value in vars(overrides).items() if name != "config_overrides"}
        key = repr((config_name, told, sorted(named.items())))
        if key not in known:
            found = listed(repo, config_name, overrides, **named)
            known[key] = copy.deepcopy((found, {name: vars(overrides)[name] for name in told}))
        found, told = copy.deepcopy(known[key])
        vars(overrides).update(told)
        return found

    return remembered


def _file(loaded: Callable) -> Callable:
    known: dict[str, Any] = {}

    def remembered(repo: ConfigRepository, config_path: str) -> Any:
        if not _is_ours([source.full_path() for source in repo.get_sources()]):
            return loaded(repo, config_path)
        if config_path not in known:
            known[config_path] = loaded(repo, config_path)
        return copy.deepcopy(known[config_path])

    return remembered


def _merged_files(merged: Callable) -> Callable:
    known: dict[str, Any] = {}

    def remembered(loader: ConfigLoaderImpl, defaults: list, repo: Any) -> Any:
        if not _is_ours([source.full_path() for source in repo.get_sources()]):
            return merged(loader, defaults=defaults, repo=repo)
        key = repr(defaults)
        if key not in known:
            known[key] = merged(loader, defaults=defaults, repo=repo)
        return copy.deepcopy(known[key])

    return remembered


def _is_ours(places: list[str]) -> bool:
    """Whether all files are conf/'s or Hydra's own; those of a test may change."""
    files = {place.removeprefix("file://") for place in places if "://" not in place or place.startswith("file://")}
    return files == {OURS}
