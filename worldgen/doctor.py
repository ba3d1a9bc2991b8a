"""`python -m worldgen.doctor profile=paper`: what a profile needs and whether it is here.

Exit status 1: something is missing, and the profile would not run.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from omegaconf import DictConfig
from packaging.requirements import Requirement

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.config import compose, groups
from worldgen.models import assets
from worldgen.paths import cache_dir
from worldgen.pipeline import networks_of_hub
from worldgen.processors import usable_cores

_MEMORY_GB = 3.0
_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """needed: the profile cannot run without it."""

    what: str
    here: bool
    details: str
    needed: bool = True

    def __str__(self) -> str:
        mark = "ok" if self.here else "MISSING" if self.needed else "absent"
        return f"{self.what:<22} {mark:<8} {self.details}"


def examine(overrides: Sequence[str]) -> Iterator[Finding]:
    """Findings about this machine for a config, one by one. Raises UserError for wrong overrides."""
    config = compose("photo.jpg", overrides)
    version = sys.version_info
    yield Finding("Python", (3, 11) <= version < (3, 13), f"{sys.version.split()[0]}; 3.11 or 3.12 is wanted")
    yield from _packages()
    yield _cuda()
    cores = usable_cores()
    memory = psutil.virtual_memory().available / 1e9
    yield Finding("processor cores", cores >= 2, f"{cores}; with fewer than 2 all takes longer", needed=False)
    yield Finding("free memory", memory >= _MEMORY_GB, f"{memory:.1f} GB; about {_MEMORY_GB:.0f} GB is used")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding("free disk here", free >= _DISK_GB, f"{free:.1f} GB; a world takes up to {_DISK_GB:.0f} GB")
    yield _ffmpeg()
    for name in assets.needed(config):
        yield _asset(name)
    yield from _hub(config)


def _packages() -> Iterator[Finding]:
    """What pyproject.toml asks for; only what is wrong is told one by one."""
    try:
        asked = [Requirement(text) for text in metadata.requires("worldgen") or []]
    except metadata.PackageNotFoundError:
        yield Finding("worldgen", False, "not installed; make setup does it")
        return
    core = [requirement for requirement in asked if requirement.marker is None or requirement.marker.evaluate()]
    found = [(requirement, _installed(requirement.name)) for requirement in core]
    wrong = [
        (requirement, version) for requirement, version in found if not version or version not in requirement.specifier
    ]
    for requirement, version in wrong:
        yield Finding(requirement.name, False, f"{version or 'not installed'}; {requirement} is wanted")
    if not wrong:
        yield Finding("packages", True, f"all {len(core)} that pyproject.toml asks for")


def _installed(package: str) -> str:
    """Its version; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cuda() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("CUDA", False, f"torch {torch.__version__} sees no GPU", needed=False)
    gsplat = _installed("gsplat")
    details = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, gsplat {gsplat or 'not installed'}"
    return Finding("CUDA and gsplat", bool(gsplat), details, needed=False)


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([path, "-version"], capture_output=True, check=True)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return Finding("ffmpeg", False, str(error).partition("\n")[0])
    return Finding("ffmpeg", True, path)


def _hub(config: DictConfig) -> Iterator[Finding]:
    """Networks of the model hub, and whether a token would open those that ask for one."""
    found = networks_of_hub(config)
    for adapter in found:
        reason = adapter.unavailable()
        if not adapter.weights and reason is None:
            continue  # set up to need nothing, as a completer without a ControlNet is
        name = adapter.weights[0].repo if adapter.weights else type(adapter).__name__
        yield Finding(f"network {name}", reason is None, reason or "here, or to be fetched when it is loaded")
    if found:
        from worldgen.models.hub import has_token

        told = "there" if has_token() else "none; HF_TOKEN or `hf auth login` sets it, gated models ask for one"
        yield Finding("token of the hub", has_token(), told, needed=False)


def _asset(name: str) -> Finding:
    asset = assets.ASSETS[name]
    path = cache_dir() / asset.filename
    if assets.is_intact(asset, path):
        return Finding(f"network {name}", True, str(path))
    state = "damaged" if path.exists() else "not fetched yet"
    needed = not asset.optional
    return Finding(f"network {name}", False, f"{state}; python -m worldgen.fetch {name} fetches it", needed)


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m worldgen.doctor", description="Say what is missing here.")
    profiles = ", ".join(groups()["profile"])
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=f"such as profile=<one of {profiles}>")
    chosen = parser.parse_args(arguments)
    missing = 0
    for finding in examine(chosen.overrides):
        print(finding, flush=True)
        missing += finding.needed and not finding.here
    print(f"{missing} missing" if missing else "it can run here")
    return 1 if missing else 0


if __name__ == "__main__":
    program.run("worldgen.doctor")
