"""Sources of pictures: what decides their pixels is in their identities, and their versions are raised with it."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.protocols import picture_sources
from eval.protocols.file_frames import FileFrame
from eval.protocols.panorama_views import FlatPanoramaProtocol, PanoramaProtocol
from eval.protocols.picture_sources import FlatPanorama, ImageFile, PanoramaView, SplatView, pose_of
from eval.protocols.world_views import WorldProtocol
from tests.small_world import room_splats
from worldgen.geometry.cameras import look_at
from worldgen.io.gaussians import save_gaussians, write_ply, write_spz
from worldgen.splat import rasterize
from worldgen.types import Gaussians

_STEP, _VALUES = 47, 110  # values from one that is compared to the next, and how many are
LEVELS_APART = 2  # of 255: what rounding on another processor may do to a pixel

# Some values of a small picture by each source and version, channel by channel. Who changes what a source gives
# raises its version, without which old scores would come back from the cache, and writes down here what it gives then.
# fmt: off
GOLDEN: dict[tuple[str, str], list[int]] = {
    ("ImageFile", "1"): [
        0, 153, 55, 92, 196, 49, 237, 41, 96, 184, 190, 227, 184, 141, 78, 237, 145, 233, 92, 202, 190, 0, 188, 200,
        212, 49, 12, 226, 214, 128, 65, 181, 46, 134, 201, 17, 5, 23, 41, 180, 149, 237, 157, 77, 65, 187, 58, 197,
        19, 92, 131, 155, 143, 118, 93, 232, 158, 84, 123, 0, 239, 67, 146, 34, 64, 94, 133, 114, 95, 34, 217, 105,
        239, 122, 161, 246, 80, 19, 55, 194, 181, 168, 207, 145, 83, 22, 162, 51, 141, 232, 20, 62, 104, 43, 36, 29,
        119, 63, 7, 248, 143, 82, 179, 25, 115, 163, 211, 201, 200, 139,
    ],
    ("PanoramaView", "1"): [
        58, 24, 128, 64, 222, 27, 91, 62, 130, 212, 119, 166, 14, 186, 85, 232, 33, 108, 180, 131, 178, 51, 227, 129,
        62, 183, 184, 41, 80, 56, 185, 195, 145, 154, 139, 119, 168, 160, 47, 39, 202, 193, 172, 54, 48, 134, 127,
        200, 0, 153, 82, 0, 102, 40, 150, 135, 186, 103, 85, 86, 131, 190, 147, 197, 158, 184, 69, 53, 89, 53, 15,
        144, 90, 203, 89, 137, 191,
    ],
    ("FlatPanorama", "2"): [
        61, 158, 129, 147, 123, 160, 150, 163, 207, 170, 137, 115, 141, 110, 18, 132, 94, 164, 63, 46, 122, 211, 118,
        170, 176, 140, 180, 49, 167, 144, 119, 147, 194, 88, 50, 66, 126, 104, 157, 146, 159, 117, 128, 133, 120, 56,
        99, 60, 194, 153, 196, 74, 64, 86, 102, 69, 91, 84, 214, 77, 114, 123, 146, 44, 184, 82, 182, 81, 66, 52, 195,
        127, 152, 173, 161, 135, 123, 122, 96, 144, 118, 181, 35, 137, 177, 77, 105, 53, 128, 113, 109, 100, 127, 151,
        189, 122, 140, 71, 22, 188, 113, 139, 63, 136, 80, 199, 149, 120, 95, 84,
    ],
    ("SplatView", "1 kernels 1"): [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 51, 164, 117, 113, 144, 40, 17, 62, 110, 51, 69, 71, 38, 2, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 40, 43, 60, 112, 91,
        38, 59, 69, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 134, 55, 2, 0, 0, 42, 75, 6, 1, 2, 86, 255, 96, 6, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ],
}
# fmt: on


def hashed(height: int, width: int) -> np.ndarray:
    """Noise, uint8 [H, W, 3], that is the same everywhere: any other way to resample it shows."""
    row, column, channel = np.indices((height, width, 3)).astype(np.int64)
    return ((row * 7919 + column * 104729 + channel * 1299709 + row * column * 31) % 251).astype(np.uint8)


def splats() -> Gaussians:
    """Sixty ellipsoids in front of the camera, coloured by direction, placed by arithmetic alone."""
    number = torch.arange(60, dtype=torch.float64)
    turn = number * 2.399963
    means = torch.stack([turn.cos() * number / 40, turn.sin() * number / 50, 3 + number % 7 / 3], dim=1)
    sh = ((number[:, None, None] * 37 + torch.arange(16)[:, None] * 11 + torch.arange(3) * 5) % 19 - 9) / 14
    sh[:, 0] += 1.5
    return Gaussians(
        means=means.float(),
        quats=torch.stack([1 + number * 0, turn.sin(), turn.cos(), number % 3 / 3], dim=1).float(),
        log_scales=torch.stack([-1.5 - number % 3 / 2, -1.5 - number % 5 / 3, -3 + number * 0], dim=1).float(),
        opacity_logits=(number % 4 - 1).float(),
        sh=sh.float(),
    )


@pytest.fixture
def made(tmp_path) -> dict[str, ImageFile | PanoramaView | FlatPanorama | SplatView]:
    Image.fromarray(hashed(64, 128)).save(tmp_path / "noise.png")
    write_ply(tmp_path / "world.ply", splats())
    return {
        "ImageFile": ImageFile(tmp_path / "noise.png"),
        "PanoramaView": PanoramaView(tmp_path / "noise.png", 20.0, 10.0, 80.0, (40, 30)),
        "FlatPanorama": FlatPanorama(tmp_path / "noise.png", 96),
        "SplatView": SplatView(tmp_path / "world.ply", pose_of(look_at(3.0, 2.0)), 60.0, (48, 36)),
    }


def fingerprint(source) -> list[int]:
    return (source.load().flatten()[::_STEP][:_VALUES] * 255).round().int().tolist()


@pytest.mark.parametrize("kind", ["ImageFile", "PanoramaView", "FlatPanorama", "SplatView"])
def test_whoever_changes_the_pixels_raises_the_version(made, kind):
    version = made[kind].VERSION + (f" kernels {rasterize.KERNELS}" if kind == "SplatView" else "")
    assert (kind, version) in GOLDEN, f"{kind} {version} has no golden picture: {fingerprint(made[kind])}"
    found, golden = np.array(fingerprint(made[kind])), np.array(GOLDEN[kind, version])
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() <= LEVELS_APART, f"{kind} gives other pixels than version {version} did"


def test_another_resampling_shows_in_pixels_and_identity(made, monkeypatch):
    for kind in ("PanoramaView", "FlatPanorama"):
        before, known_as = np.array(fingerprint(made[kind])), made[kind].identity()
        with monkeypatch.context() as patch:
            patch.setattr(picture_sources, "_RESAMPLING", "bilinear")
            assert np.abs(np.array(fingerprint(made[kind])) - before).max() > 4 * LEVELS_APART
            assert made[kind].identity() != known_as


def test_whatever_decides_pixels_is_in_the_identity(made, monkeypatch):
    known = {kind: source.identity() for kind, source in made.items()}
    for kind, source in made.items():
        with monkeypatch.context() as patch:
            patch.setattr(type(source), "VERSION", "0")
            assert source.identity() != known[kind]
    with monkeypatch.context() as patch:
        patch.setattr(picture_sources, "KERNELS", "0")
        changed = {kind for kind, source in made.items() if source.identity() != known[kind]}
    assert changed == {"SplatView"}
    for package, decides in (
        ("pillow", {"ImageFile", "PanoramaView", "FlatPanorama"}),
        ("torch", {"PanoramaView", "FlatPanorama"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(picture_sources, "version", lambda name, other=package: "0" if name == other else real(name))
            for cached in (picture_sources._libraries, picture_sources._decoder):
                cached.cache_clear()
            assert {kind for kind, source in made.items() if source.identity() != known[kind]} == decides
    for cached in (picture_sources._libraries, picture_sources._decoder):
        cached.cache_clear()
    assert {kind: source.identity() for kind, source in made.items()} == known


real = importlib.metadata.version


def test_what_torch_was_built_for_is_no_other_version(monkeypatch):
    monkeypatch.setattr(picture_sources, "version", lambda name: "2.13.0+cpu")
    assert picture_sources._version("torch") == "2.13.0"


def test_every_setting_of_a_protocol_that_moves_a_view_is_in_its_identity(tmp_path):
    Image.fromarray(hashed(64, 128)).save(tmp_path / "a.png")
    write_ply(tmp_path / "a.ply", splats())

    def identities(protocol, name):
        return [picture.rgb.identity() for picture in protocol.pictures("a", tmp_path / name)]

    common = {"name": "p", "metrics": ["niqe"]}
    for protocol, name, changes in (
        (PanoramaProtocol(**common, size=64), "a.png", {"pitch_deg": 1.0, "fov_deg": 91.0, "size": 65}),
        (FlatPanoramaProtocol(**common, width=128), "a.png", {"width": 126}),
        (WorldProtocol(**common, size=64), "a.ply", {"side_m": 2.1, "fov_deg": 91.0, "size": 65, "seed": 1}),
    ):
        known = set(identities(protocol, name))
        for key, value in changes.items():
            changed = identities(replace(protocol, **{key: value}), name)
            assert len(known.intersection(changed)) <= len(changed) // 3, key  # corners do not move with the seed ...


@pytest.mark.parametrize("suffix", [".ply", ".spz", ".safetensors"])
def test_coverage_is_the_share_that_is_not_background(tmp_path, suffix):
    path = tmp_path / f"world{suffix}"
    write = {".ply": write_ply, ".spz": write_spz, ".safetensors": save_gaussians}[suffix]
    room = room_splats(64)
    write(path, Gaussians(**{name: value[room.means[:, 2] > 0] for name, value in room.tensors().items()}))
    front, back = (SplatView(path, pose_of(look_at(yaw_deg)), 60.0, (48, 48)) for yaw_deg in (0.0, 180.0))
    side = SplatView(path, pose_of(look_at(90.0)), 60.0, (48, 48))
    assert front.coverage() > 0.95
    assert back.coverage() < 0.02
    assert 0.3 < side.coverage() < 0.7
    assert 0.3 < float((side.load().amax(dim=0) > 0.05).float().mean()) < 0.7


def test_splats_are_seen_where_their_frame_puts_them(tmp_path):
    """One world written in four frames, each with its own unit and origin: all are seen as the original is."""
    original = splats()
    write_ply(tmp_path / "ours.ply", original)
    view = SplatView(tmp_path / "ours.ply", pose_of(look_at(3.0, 2.0)), 60.0, (48, 36))
    expected = view.load()
    for axes in ("opencv", "opengl", "y_up", "z_up"):
        frame = FileFrame(axes, 0.25, (30.0, -20.0, 10.0))
        theirs = picture_sources.transformed(original, frame.rotation.T, 1 / frame.scale)
        for suffix, write, apart in ((".ply", write_ply, 0.02), (".spz", write_spz, 2.5)):
            path = tmp_path / f"{axes}{suffix}"
            write(path, replace(theirs, means=theirs.means + torch.tensor(frame.origin)))
            seen = replace(view, path=path, world=frame)
            assert (seen.load() - expected).abs().mean() < apart / 255
            assert (replace(seen, world=FileFrame(axes)).load() - expected).abs().mean() > 10 / 255
    identities = {
        replace(view, world=world).identity()
        for world in (FileFrame(), FileFrame("opengl"), FileFrame(scale=2.0), FileFrame(origin=(0.0, 0.0, 1e-9)))
    }
    assert len(identities) == 4


def test_an_origin_far_away_costs_no_precision(tmp_path):
    from plyfile import PlyData, PlyElement

    write_ply(tmp_path / "near.ply", splats())
    vertex = PlyData.read(tmp_path / "near.ply", mmap=False)["vertex"].data
    wide = vertex.astype([(name, "<f8" if name in "xyz" else "<f4") for name in vertex.dtype.names])
    origin = (4.5e6, -1.2e6, 300.0)
    for name, away in zip("xyz", origin, strict=True):
        wide[name] += away
    PlyData([PlyElement.describe(wide, "vertex")]).write(tmp_path / "far.ply")
    near = SplatView(tmp_path / "near.ply", pose_of(look_at(3.0)), 60.0, (48, 36))
    far = replace(near, path=Path(tmp_path / "far.ply"), world=FileFrame(origin=origin))
    assert (far.load() - near.load()).abs().max() <= 1.01 / 255
