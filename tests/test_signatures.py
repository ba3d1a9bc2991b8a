"""Each sign of a fault rises where that fault was planted, and not on the clean twin; faults are told apart."""

import math
from dataclasses import replace

import pytest
import torch

from eval.metrics.signatures_style import StyleBreak
from eval.protocols.panorama_views import FlatPanoramaProtocol
from eval.scoring.jobs import companion_of
from tests.outdoors import meadow
from tests.scenes import BoxRoom
from tests.small_world import panorama_points, room_splats, write_run
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective
from worldgen.geometry.fill import blur
from worldgen.geometry.points import render_points
from worldgen.runs.reader import RunReader
from worldgen.signatures.completed_faults import CONTRADICTED, UNSEEN, Witnesses, disagreement, witness
from worldgen.signatures.splat_faults import depth_spread, faults, floating_weight, step_change
from worldgen.signatures.style_breaks import KINDS, style_breaks
from worldgen.types import Camera, Gaussians

HEIGHT = 192
CAMERA = Camera.from_fov(160, 160, 40.0, look_at(30.0, 0.0, torch.tensor([0.1, 0.05, -0.1])))
PHOTO = Camera.from_fov(90, 68, 80.0)
PANORAMAS = {"meadow": lambda: meadow(180)[0].rgb, "room": lambda: BoxRoom().panorama(180)[0].rgb}
FAULTS = {  # kind of break: what is done to all but the photo
    "colour": lambda rgb: (rgb * torch.tensor([1.3, 1.0, 0.6])[:, None, None]).clamp(0, 1),
    "contrast": lambda rgb: 0.3 * rgb + 0.7 * blur(rgb, 12.0),
    "texture": lambda rgb: blur(rgb, 2.0),
}


def broken(rgb: torch.Tensor, kind: str) -> torch.Tensor:
    """A panorama whose photo is clean, and nothing else."""
    _, photo = from_perspective(torch.zeros(1, PHOTO.height, PHOTO.width), PHOTO, *rgb.shape[1:])
    return torch.where(photo, rgb, FAULTS[kind](rgb))


@pytest.mark.parametrize("name", PANORAMAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_style_that_breaks_at_the_photos_border_is_found(name, kind):
    clean = PANORAMAS[name]()
    before, after = style_breaks(clean, PHOTO), style_breaks(broken(clean, kind), PHOTO)
    assert after[kind] > 1.5 * before[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_style_that_is_the_same_all_over_is_none_that_breaks(kind):
    clean = PANORAMAS["meadow"]()
    all_over = style_breaks(FAULTS[kind](clean), PHOTO)[kind]
    assert all_over < 1.5 * style_breaks(clean, PHOTO)[kind]
    assert style_breaks(torch.full((3, 90, 180), 0.5), PHOTO)[kind] == pytest.approx(0, abs=1e-3)


def test_a_strip_has_no_style_to_compare():
    strip = Camera.from_fov(64, 16, 60.0)
    with pytest.raises(UserError, match="narrow a strip"):
        style_breaks(torch.rand(3, 64, 128), strip)


def test_a_colour_cast_leaves_texture_alone():
    clean = PANORAMAS["meadow"]()
    cast = style_breaks(broken(clean, "colour"), PHOTO)
    assert cast["texture"] < 1.3 * style_breaks(clean, PHOTO)["texture"]


def test_it_is_a_metric_of_flat_panoramas():
    clean = PANORAMAS["meadow"]()
    (value,) = StyleBreak("texture", 80.0)([clean], [None])
    assert value == pytest.approx(style_breaks(clean, Camera.from_fov(60, 45, 80.0))["texture"])
    (value,) = StyleBreak("texture", 80.0)([clean], ["50 1"])  # what a run's own lens was
    assert value == pytest.approx(style_breaks(clean, Camera.from_fov(60, 60, 50.0))["texture"])
    with pytest.raises(UserError, match=r"metric.kind: taste, wanted one of colour, contrast, texture"):
        StyleBreak("taste")


@pytest.fixture(scope="module")
def cloud():
    return panorama_points(HEIGHT)


@pytest.fixture(scope="module")
def clean() -> Gaussians:
    return room_splats(HEIGHT)


def hung(clean: Gaussians, share: float, opacity: float, every: int) -> Gaussians:
    """More of the room's splats, twice as large as they look from the origin, at a share of their distance."""
    some = clean.map(lambda tensor: tensor[::every])
    logit = torch.tensor(opacity).logit()
    extra = replace(
        some,
        means=some.means * share,
        log_scales=some.log_scales + torch.tensor(2 * share).log(),
        opacity_logits=torch.full_like(some.opacity_logits, logit),
        sh=-some.sh,
    )
    return Gaussians(**{name: torch.cat([tensor, extra.tensors()[name]]) for name, tensor in clean.tensors().items()})


def test_a_clean_world_has_no_faults(clean, cloud):
    floating, spread, change = faults(clean, cloud, CAMERA).mean(dim=(1, 2))
    assert floating < 0.001
    assert spread < 0.03
    assert change < 0.003


def test_what_hangs_before_the_surface_floats(clean, cloud):
    floating = [float(floating_weight(hung(clean, 0.5, 0.95, every), cloud, CAMERA).mean()) for every in (200, 20)]
    assert floating[0] > 0.03
    assert floating[1] > 4 * floating[0]


def test_what_hangs_behind_or_close_to_the_surface_does_not_float(clean, cloud):
    for share in (0.95, 1.3):
        assert float(floating_weight(hung(clean, share, 0.95, 20), cloud, CAMERA).mean()) < 0.01


def test_a_haze_spreads_the_depth_and_a_step_changes_the_picture(clean):
    hazy = hung(clean, 0.5, 0.5, 3)
    assert float(depth_spread(hazy, CAMERA).mean()) > 5 * float(depth_spread(clean, CAMERA).mean())
    assert float(step_change(hazy, CAMERA).mean()) > 2 * float(step_change(clean, CAMERA).mean())


def test_half_a_rays_colour_from_twice_as_far_is_a_spread_of_log_2_over_2():
    """Two walls, each one Gaussian that covers everything; the nearer one lets half of the light through."""
    walls = Gaussians(
        means=torch.tensor([[0.0, 0, 2], [0, 0, 4]]),
        quats=torch.tensor([[1.0, 0, 0, 0]] * 2),
        log_scales=torch.tensor([[60.0, 60, 1e-3]] * 2).log(),
        opacity_logits=torch.tensor([0.5, 0.999]).logit(),
        sh=torch.zeros(2, 1, 3),
    )
    middle = depth_spread(walls, Camera.from_fov(32, 32, 40.0))[12:20, 12:20]
    assert float(middle.mean()) == pytest.approx(math.log(2) / 2, rel=0.05)


def test_without_a_cloud_nothing_floats(clean):
    assert float(faults(hung(clean, 0.5, 0.95, 20), None, CAMERA)[0].max()) < 1e-6


def test_a_completed_view_that_says_another_thing_than_its_points_disagrees(cloud):
    camera = Camera.from_fov(64, 64, 90.0, look_at(40.0, 0.0, torch.tensor([0.8, 0.0, 0.0])))
    render = render_points(cloud, camera)
    inpainted = ~render.known
    inpainted[20:30, 20:30] = True
    true = torch.where(inpainted, torch.rand(3, 64, 64), render.rgb)
    apart, known = disagreement(true, render, inpainted)
    assert float(apart.max()) == 0
    assert 0.3 < float(known.float().mean()) < 1
    assert not bool((known & inpainted).any())
    lied = true.clone()
    lied[:, 40:50, 40:50] = 1 - lied[:, 40:50, 40:50]
    apart, _ = disagreement(lied, render, inpainted)
    assert float(apart.sum()) == pytest.approx(float(apart[40:50, 40:50].sum()))
    assert float(apart[known].mean()) > 0.003


def test_what_is_painted_is_supported_contradicted_or_seen_by_nobody_else(cloud):
    """Two views of a room side by side, and one that looks the other way."""
    looks = [(0.0, 0.0), (0.0, 0.3), (180.0, 0.0)]
    cameras = [Camera.from_fov(256, 256, 80.0, look_at(yaw, 0.0, torch.tensor([x, 0.0, 0.0]))) for yaw, x in looks]
    pictures = [BoxRoom().view(camera).rgb for camera in cameras]
    painted = torch.zeros(256, 256, dtype=torch.bool)
    painted[80:160, 110:190] = True

    def shares(number: int, picture: torch.Tensor) -> list[float]:
        views = [witness(camera, each, cloud, 256) for camera, each in zip(cameras, pictures, strict=True)]
        verdicts = Witnesses(views).verdicts(number, cameras[number], picture, painted, cloud)
        assert not bool(verdicts[~painted].any())
        return [float((verdicts[painted] == verdict).float().mean()) for verdict in (0.0, UNSEEN, CONTRADICTED)]

    assert shares(0, pictures[0])[0] > 0.97
    assert shares(0, (pictures[0] + 0.5) % 1)[2] > 0.9
    assert shares(2, pictures[2])[1] == 1
    assert shares(2, (pictures[2] + 0.5) % 1)[1] == 1


def test_a_run_is_measured_by_its_own_photos_lens(tmp_path):
    write_run(tmp_path / "run")
    protocol = FlatPanoramaProtocol(name="panorama_flat", metrics=("style_colour",), width=128)
    (picture,) = protocol.pictures("ours", tmp_path / "run")
    camera = RunReader(tmp_path / "run").camera()
    assert companion_of(picture, StyleBreak().needs) == f"{camera.fov_deg:.6g} {camera.width / camera.height:.6g}"
