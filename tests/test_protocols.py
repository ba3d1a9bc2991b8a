"""Protocols: the views are the right ones, rendered as others render them, and every file in conf/protocol works."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from py360convert import e2p

from eval.protocols import picture_sources
from eval.protocols.base import Protocol
from eval.protocols.image_views import ConditioningProtocol, ImagesProtocol
from eval.protocols.methods import examine
from eval.protocols.panorama_views import FlatPanoramaProtocol, PanoramaProtocol
from eval.protocols.picture_sources import FlatPanorama, ImageFile, PanoramaView, SplatView, content_hash, pose_of
from eval.protocols.trajectories import corner_places, path_places
from eval.protocols.world_views import WorldProtocol
from tests.small_world import FOV_DEG, room_splats, write_run
from worldgen.config import choice, choices
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.io.gaussians import save_gaussians, write_ply, write_spz
from worldgen.runs.artifacts import save_image
from worldgen.types import Camera, Gaussians
from worldgen.world import World

HEIGHT, SIZE = 256, 96
LEVEL = 1 / 255
METRICS = ("niqe",)


def smooth(height: int = HEIGHT) -> torch.Tensor:
    """A panorama [3, H, 2H] without symmetry: a view turned, mirrored or upside down shows other colours."""
    x, y, z = directions(height, 2 * height).unbind(-1)
    return torch.stack([0.5 + 0.4 * x, 0.5 + 0.3 * y + 0.1 * x * z, 0.5 + 0.2 * z + 0.2 * torch.sin(2 * y + x)])


@pytest.fixture
def panoramas(tmp_path) -> Path:
    folder = tmp_path / "panoramas"
    folder.mkdir()
    save_image(folder / "smooth.png", smooth())
    return folder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "room")


@pytest.mark.parametrize("name", choices("protocol"))
def test_every_file_makes_the_protocol_of_its_name(name):
    config = choice("protocol", name)
    protocol = instantiate(config)
    assert isinstance(protocol, Protocol)
    assert protocol.name == name
    assert protocol.settings() == {key: value for key, value in OmegaConf.to_container(config).items() if key[0] != "_"}


def test_views_agree_with_py360convert(panoramas):
    pixels = np.asarray(Image.open(panoramas / "smooth.png")).astype(np.float64)
    protocol = PanoramaProtocol(name="panorama", metrics=METRICS, size=SIZE, pitch_deg=20, fov_deg=80)
    pictures = protocol.pictures("a", panoramas)
    assert [picture.view for picture in pictures] == [f"yaw{yaw:03}" for yaw in range(0, 360, 60)]
    for number, picture in enumerate(pictures):
        yaw_deg = (60 * number + 180) % 360 - 180
        theirs = e2p(pixels, fov_deg=(80, 80), u_deg=yaw_deg, v_deg=20, out_hw=(SIZE, SIZE), mode="bilinear") / 255
        ours = picture.rgb.load().permute(1, 2, 0).numpy()
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs)[2:-2, 2:-2].max() < 2 * LEVEL


def test_six_views_see_the_whole_horizon(panoramas):
    """A panorama whose colour is its longitude: every longitude appears in some view's middle row."""
    longitude = ((torch.arange(512) + 0.5) / 512).expand(3, 256, 512)
    save_image(panoramas / "smooth.png", longitude)
    protocol = PanoramaProtocol(name="panorama", metrics=METRICS, size=SIZE)
    rows = [picture.rgb.load()[0, SIZE // 2] for picture in protocol.pictures("a", panoramas)]
    seen = torch.cat(rows).sort().values
    assert seen[0] < 0.01
    assert seen[-1] > 0.99
    assert seen.diff().max() < 0.02
    assert rows[0].median() == pytest.approx(0.5, abs=0.01)  # the first looks straight ahead


def test_a_view_scores_as_its_saved_png_does(panoramas, tmp_path):
    view = PanoramaView(panoramas / "smooth.png", 75.0, -10.0, 90.0, (SIZE, SIZE))
    save_image(tmp_path / "view.png", view.load())
    assert torch.equal(ImageFile(tmp_path / "view.png").load(), view.load())


def test_a_much_finer_panorama_does_not_alias(tmp_path):
    stripes = (torch.arange(2048) % 2).float().expand(3, 1024, 2048)
    save_image(tmp_path / "stripes.png", stripes)
    view = PanoramaView(tmp_path / "stripes.png", 0.0, 0.0, 90.0, (SIZE, SIZE)).load()
    assert view.std() < 0.02
    assert view.mean() == pytest.approx(0.5, abs=0.01)


def test_the_flat_variant_is_the_panorama_itself(panoramas):
    whole = FlatPanoramaProtocol(name="panorama_flat", metrics=METRICS, width=512).pictures("a", panoramas)
    assert [(picture.image, picture.view) for picture in whole] == [("smooth", "flat")]
    assert torch.equal(whole[0].rgb.load(), ImageFile(panoramas / "smooth.png").load())
    half = FlatPanorama(panoramas / "smooth.png", 256).load()
    torch.testing.assert_close(half, smooth(128), atol=2 * LEVEL, rtol=0)


@pytest.mark.parametrize(("width", "turned", "by"), [(64, 32, 16), (256, 50, 100), (96, 64, 48)])
def test_a_flat_panorama_of_another_size_has_no_seam_of_its_own(tmp_path, width, turned, by):
    noise = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0))
    for name, rgb in (("ahead", noise), ("turned", noise.roll(turned, 2))):
        save_image(tmp_path / f"{name}.png", rgb)
    ahead, round_the_back = (FlatPanorama(tmp_path / f"{name}.png", width).load() for name in ("ahead", "turned"))
    torch.testing.assert_close(round_the_back, ahead.roll(by, 2), atol=LEVEL, rtol=0)


def test_a_picture_that_is_no_panorama_is_named_and_the_rest_scored(panoramas):
    save_image(panoramas / "photo.png", torch.rand(3, 96, 128))
    protocol = PanoramaProtocol(name="panorama", metrics=METRICS, size=SIZE)
    collected = protocol.collect(examine("a", panoramas))
    assert {picture.image for picture in collected.pictures} == {"smooth"}
    assert collected.output.failed == {"photo": "128x96 pixels, wanted a panorama twice as wide as high"}
    (panoramas / "smooth.png").unlink()
    with pytest.raises(UserError, match=r"methods\.a: .*: nothing to score; photo: 128x96 pixels, wanted a panorama"):
        protocol.pictures("a", panoramas)
    with pytest.raises(UserError, match=r"photo\.png: 128x96 pixels"):
        PanoramaView(panoramas / "photo.png", 0.0, 0.0, 90.0, (SIZE, SIZE)).load()


def test_lossy_panoramas_are_said_once(panoramas):
    for name in "ab":
        Image.new("RGB", (128, 64), "green").save(panoramas / f"{name}.jpg")
    collected = PanoramaProtocol(name="panorama", metrics=METRICS).collect(examine("a", panoramas))
    assert collected.output.notes == ("2 of 3 pictures are JPEG, which moves NIQE by a point: wanted lossless",)
    images = ImagesProtocol(name="images", metrics=METRICS).collect(examine("a", panoramas))
    assert not any("JPEG" in note for note in images.output.notes)


def test_photos_are_found_by_name(panoramas, tmp_path):
    (tmp_path / "photos").mkdir()
    save_image(panoramas / "other.png", smooth())
    Image.new("RGB", (80, 64), "red").save(tmp_path / "photos" / "smooth.jpg")
    protocol = PanoramaProtocol(name="panorama", metrics=METRICS, photos=str(tmp_path / "photos"))
    collected = protocol.collect(protocol.examine("a", panoramas))
    photos = {picture.image: picture.photo for picture in collected.pictures}
    assert photos == {"smooth": ImageFile(tmp_path / "photos" / "smooth.jpg"), "other": None}
    assert collected.output.notes == (f"no photo in {tmp_path / 'photos'} for: other",)
    with pytest.raises(UserError, match=r"protocol\.photos: .*nowhere holds no pictures"):
        replace(protocol, photos=str(tmp_path / "nowhere")).pictures("a", panoramas)


def test_worlds_are_rendered_by_our_renderer(run_dir):
    protocol = WorldProtocol(name="world", metrics=METRICS, paths=2, views_per_path=3, size=SIZE)
    pictures = protocol.pictures("ours", run_dir)
    names = [f"path{path}-{view:02}" for path in range(2) for view in range(3)]
    assert [picture.view for picture in pictures] == [*names, *(f"corner{number}" for number in range(8))]
    assert {picture.image for picture in pictures} == {"room"}
    source = pictures[4].rgb
    camera = Camera.from_fov(SIZE, SIZE, 90.0, torch.tensor(source.c2w))
    torch.testing.assert_close(source.load(), World(run_dir).render(camera), atol=0.51 * LEVEL, rtol=0)


@pytest.mark.parametrize("suffix", [".ply", ".spz", ".safetensors"])
def test_splats_load_from_every_format(tmp_path, suffix):
    write = {".ply": write_ply, ".spz": write_spz, ".safetensors": save_gaussians}[suffix]
    write(tmp_path / f"world{suffix}", room_splats())
    view = SplatView(tmp_path / f"world{suffix}", pose_of(look_at(30.0)), 90.0, (SIZE, SIZE))
    write_ply(tmp_path / "exact.ply", room_splats())
    exact = replace(view, path=tmp_path / "exact.ply").load()
    assert exact.std() > 0.05
    assert (view.load() - exact).abs().mean() < 2 * LEVEL


def test_splat_files_without_splats_are_refused(tmp_path):
    none = Gaussians(*(tensor[:0] for tensor in room_splats().tensors().values()))
    write_ply(tmp_path / "none.ply", none)
    (tmp_path / "broken.spz").write_bytes(b"\x1f\x8b no splats")
    for name, message in [
        ("none.ply", "holds no splats"),
        ("broken.spz", "not readable .*, wanted splats as .spz"),
        ("x.ply", "No such"),
    ]:
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            SplatView(tmp_path / name, pose_of(torch.eye(4)), 90.0, (SIZE, SIZE)).load()


def test_paths_stay_inside_the_cube_and_repeat_by_their_seed():
    places = [place for number in range(20) for place in path_places(number, 12, 2.0, seed=5)]
    positions = torch.stack([place.c2w[:3, 3] for place in places])
    assert positions.abs().max() <= 0.9 + 1e-5
    assert positions.abs().amax(0).min() > 0.7  # every side is approached
    forward = torch.stack([place.c2w[:3, 2] for place in places])
    assert (forward[:, [0, 2]].sign() + 1).long().unique(dim=0).shape[0] == 4  # in every quarter
    assert forward[:, 1].abs().max() <= np.sin(np.radians(15)) + 1e-5
    again, other = path_places(3, 12, 2.0, seed=5), path_places(3, 12, 2.0, seed=6)
    assert torch.equal(again[7].c2w, places[3 * 12 + 7].c2w)
    assert not torch.allclose(other[7].c2w, again[7].c2w)
    steps = torch.stack([place.c2w[:3, 3] for place in path_places(0, 200, 2.0, seed=5)]).diff(dim=0).norm(dim=1)
    assert steps.max() < 0.2  # smooth: no jumps


def test_corners_are_the_cubes():
    places = corner_places(2.0, seed=0)
    corners = torch.stack([place.c2w[:3, 3] for place in places])
    assert torch.equal(corners.abs(), torch.ones(8, 3))
    assert len({tuple(corner.tolist()) for corner in corners}) == 8
    assert len({place.name for place in places}) == 8
    assert len({pose_of(place.c2w)[0] for place in places}) == 8  # no two look the same way


def test_runs_show_their_photo_and_tell_their_prompt(run_dir):
    (run_dir / "prompts" / "prompts.json").write_text('{"atmosphere": "a bright room"}')
    picture = PanoramaProtocol(name="panorama", metrics=METRICS, size=SIZE).pictures("ours", run_dir)[0]
    assert picture.text == "a bright room"
    photo = picture.photo
    assert (photo.yaw_deg, photo.pitch_deg, photo.fov_deg) == (0.0, 0.0, FOV_DEG)
    assert photo.size[0] / photo.size[1] == pytest.approx(64 / 48, rel=0.1)  # of the photo in small_world


def test_frames_of_worlds_are_scored_as_they_are(tmp_path):
    for scene, count in (("kitchen", 2), ("garden", 1)):
        (tmp_path / scene).mkdir()
        for number in range(count):
            save_image(tmp_path / scene / f"{number:03}.png", torch.rand(3, 64, 96 - 32 * number))
    protocol = WorldProtocol(name="world", metrics=METRICS, size=64)
    collected = protocol.collect(examine("a", tmp_path))
    found = [(picture.image, picture.view) for picture in collected.pictures]
    assert found == [("garden", "000"), ("kitchen", "000"), ("kitchen", "001")]
    assert "pictures of mixed sizes (1 of 64x64, 2 of 96x64)" in collected.output.notes[0]
    assert "2 of 3 frames are not 64x64" in collected.output.notes[1]


def test_pairs_are_found_by_name_and_size(tmp_path):
    for folder, names in (("pred", "abcx"), ("true", "abcy")):
        (tmp_path / folder).mkdir()
        for name in names:
            side = 80 if (folder, name) == ("true", "c") else 64
            save_image(tmp_path / folder / f"{name}.png", torch.rand(3, side, 64))
    protocol = ConditioningProtocol(name="conditioning", metrics=METRICS)
    collected = protocol.collect(protocol.examine("a", tmp_path))
    assert [picture.image for picture in collected.pictures] == ["a", "b"]
    for picture in collected.pictures:
        assert picture.truth == ImageFile(tmp_path / "true" / picture.rgb.path.name)
    assert collected.output.failed == {
        "c": "64x64 pixels, but its true view has 64x80",
        "x": "no true view of that name",
        "y": "a true view, but none of the method's",
    }
    apart = ConditioningProtocol(name="conditioning", metrics=METRICS, truth=str(tmp_path / "true"))
    assert [picture.truth for picture in apart.pictures("a", tmp_path / "pred")] == [
        picture.truth for picture in collected.pictures
    ]
    with pytest.raises(UserError, match="holds no pairs of views, wanted both pred/ and true/"):
        protocol.pictures("a", tmp_path / "pred")


def test_what_fits_no_protocol_is_refused(panoramas, run_dir):
    with pytest.raises(UserError, match=r"holds panoramas, wanted splats, runs or frames .* for protocol=world"):
        WorldProtocol(name="world", metrics=METRICS).pictures("a", panoramas)
    with pytest.raises(UserError, match="holds runs, wanted pictures for protocol=images"):
        ImagesProtocol(name="images", metrics=METRICS).pictures("a", run_dir)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (PanoramaProtocol, {"views": 0}, "protocol.views: 0, wanted 1 to 180"),
        (PanoramaProtocol, {"fov_deg": 200}, "protocol.fov_deg: 200, wanted 10 to 150 degrees"),
        (PanoramaProtocol, {"metrics": []}, "protocol.metrics: [], wanted one name of conf/metric at least"),
        (FlatPanoramaProtocol, {"width": 33}, "protocol.width: 33, wanted an even number"),
        (WorldProtocol, {"paths": 0, "corners": False}, "protocol.corners: False, wanted true where paths is 0"),
        (WorldProtocol, {"size": 5}, "protocol.size: 5, wanted 16 to 16384 pixels"),
    ],
)
def test_wrong_settings_are_named(kind, settings, message):
    with pytest.raises(UserError) as caught:
        kind(**{"name": "p", "metrics": METRICS} | settings)
    assert message in str(caught.value)


def test_sources_travel_and_are_known_by_their_content(panoramas, tmp_path):
    view = PanoramaView(panoramas / "smooth.png", 60.0, 0.0, 90.0, (SIZE, SIZE))
    splats = SplatView(tmp_path / "world.ply", pose_of(look_at(30.0)), 90.0, (SIZE, SIZE))
    write_ply(splats.path, room_splats(16))
    kinds = [view, splats, ImageFile(view.path), FlatPanorama(view.path, 128)]
    for source in kinds:
        assert pickle.loads(pickle.dumps(source)) == source
    turned = [replace(view, yaw_deg=61.0), replace(view, fov_deg=80.0), replace(view, size=(SIZE, 48))]
    turned += [replace(splats, c2w=pose_of(look_at(31.0))), replace(splats, fov_deg=91.0), FlatPanorama(view.path, 64)]
    assert len({source.identity() for source in [*kinds, *turned]}) == len(kinds) + len(turned)
    copy = panoramas / "copy.png"
    copy.write_bytes(view.path.read_bytes())
    assert replace(view, path=copy).identity() == view.identity()
    save_image(copy, smooth().flip(0))
    assert replace(view, path=copy).identity() != view.identity()


def test_a_file_is_hashed_once(panoramas, monkeypatch):
    hashed = []
    real = picture_sources.sha256_of
    monkeypatch.setattr(picture_sources, "sha256_of", lambda path: hashed.append(path) or real(path))
    for _ in range(3):
        content_hash(panoramas / "smooth.png")
    assert len(hashed) == 1
    with pytest.raises(UserError, match=r"gone\.png: cannot be read"):
        content_hash(panoramas / "gone.png")
