"""README and docs/ tell the truth: their commands are taken, their links lead somewhere, their example works."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from eval.cli import take_methods
from tests.house import ROOT
from worldgen.config import check, instantiate
from worldgen.models.conformance import check_inpainter

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m [^`#\n]*")
EXAMPLE = "telea"  # an adapter that docs/adapters.md adds
ROOTS = {
    "worldgen": "config",
    "train.splat": "train",
    "train.controlnet": "controlnet",
    "train.small_diffusion": "small_diffusion",
    "train.data.check": "data_check",
    "train.data.depths": "data_depths",
    "train.data.pose": "data_pose",
    "eval": "eval",
}  # programs of Hydra's, and their config files


def commands() -> list[list[str]]:
    """What follows `python -m` wherever that is written, each once; what stands between < and > is a name."""
    lines = [found for page in PAGES for found in COMMAND.findall(page.read_text())]
    lines = [re.sub("<[^>]*>", "name", line).strip() for line in lines]
    return [shlex.split(line)[2:] for line in sorted(set(lines)) if EXAMPLE not in line and not line.endswith("...")]


def blocks(page: str, language: str) -> list[str]:
    """The pieces of code of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("module", sorted({command[0] for command in commands()}))
def test_programs_are_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("command", [each for each in commands() if each[0] in ROOTS], ids=" ".join)
def test_settings_are_known(command):
    module, *arguments = command
    sweep = "-m" in arguments
    overrides = [each for each in arguments if not each.startswith("-") and "=" in each]
    if module == "eval":
        _, overrides = take_methods(overrides)
    if module == "train.splat":
        overrides = [re.sub("^views=", "scene.views=", each) for each in overrides]  # as its command line does
    check(overrides, sweep, ROOTS[module])


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted({command[0] for command in commands()}))
def test_programs_say_how_they_are_used(module):
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        assert (page.parent / path).exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", (page.parent / path).read_text(), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles], target


def test_paths_of_ours_are_there():
    """Files and folders named between backquotes."""
    named = {
        path
        for page in PAGES
        for path in re.findall(
            r"`((?:worldgen|train|eval|conf|tests|docs|slurm|notebooks|examples)/[\w./]*)`", page.read_text()
        )
    }
    assert sorted(path for path in named if not (ROOT / path).exists() and EXAMPLE not in path) == []


def test_the_example_of_an_adapter_keeps_its_contract(tmp_path, monkeypatch):
    (settings,) = blocks("adapters.md", "yaml")
    source, test = blocks("adapters.md", "python")
    (tmp_path / "telea.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "telea", raising=False)
    config = OmegaConf.create(settings.replace("worldgen.models.telea", "telea"))
    check_inpainter(instantiate(config))
    assert "check_inpainter(TeleaInpainter())" in test
