"""A network's depths become a panorama's distances: pytest tests/test_depth.py"""

import math

import pytest
import torch

from tests.scenes import BoxRoom
from worldgen.embedded.auto_depth import AutoDepth
from worldgen.embedded.fastdepth import FastDepth
from worldgen.errors import UserError
from worldgen.geometry.cameras import distance_to_zdepth, world_rays
from worldgen.geometry.colour import colourise
from worldgen.geometry.equirect import directions
from worldgen.recipe.depth import MergeSettings, ViewMergedDepth, ground_height, raise_to_ground
from worldgen.types import Camera, Prompts, ViewDepth

ROOM = BoxRoom()
PANORAMA, TRUTH = ROOM.panorama(128)
SMALL = MergeSettings(view_size=96, merge_height=128)


def prompts(indoor):
    return Prompts("", "", "", indoor, "")


class Oracle:
    """Knows the room; answers at another scale, and every view at its own."""

    def __init__(self, scale=1.0, spread=0.0):
        self.scale, self.spread, self.generator = scale, spread, torch.Generator().manual_seed(0)

    def __call__(self, rgb, camera):
        assert rgb.shape == (3, camera.height, camera.width)
        own = torch.exp(self.spread * torch.randn(1, generator=self.generator))
        zdepth = distance_to_zdepth(camera, ROOM.view(camera).distance) * self.scale * own
        return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))


def relative_error(distances):
    return (distances.distance / TRUTH.distance).log().abs()


def test_a_true_network_gives_the_true_room():
    found = ViewMergedDepth(Oracle(), settings=SMALL)(PANORAMA, prompts(True))
    assert relative_error(found).quantile(0.95) < 0.02
    assert not found.sky.any()


def test_the_shape_networks_scale_is_replaced_by_the_metric_networks():
    found = ViewMergedDepth(Oracle(0.01), Oracle(1.0), SMALL)(PANORAMA, prompts(True))
    assert relative_error(found).quantile(0.95) < 0.02


def test_views_of_different_scale_agree_in_the_end():
    found = ViewMergedDepth(Oracle(spread=0.3), settings=SMALL)(PANORAMA, prompts(True))
    error = (found.distance / TRUTH.distance).log()
    assert (error - error.median()).abs().quantile(0.9) < 0.05


class Masked(Oracle):
    """Answers inf, and says that it is invalid, where the room's ceiling is more than `deg` above the horizon."""

    def __init__(self, deg, scale=1.0):
        super().__init__(scale)
        self.deg = deg

    def __call__(self, rgb, camera):
        depth = super().__call__(rgb, camera)
        valid = world_rays(camera)[..., 1] > -math.sin(math.radians(self.deg))
        return ViewDepth(torch.where(valid, depth.zdepth, torch.inf), valid)


def test_what_no_view_has_a_valid_depth_of_is_the_sky_and_the_rest_is_as_true_as_ever():
    found = ViewMergedDepth(Masked(30), settings=SMALL)(PANORAMA, prompts(True))
    latitude = torch.rad2deg(torch.asin(directions(*found.sky.shape)[..., 1]))
    assert found.sky[latitude < -35].all()
    assert not found.sky[latitude > -28].any()
    assert (found.distance[found.sky] == SMALL.sky_m).all()
    assert relative_error(found)[~found.sky].quantile(0.95) < 0.02
    large = ViewMergedDepth(Masked(30), settings=MergeSettings(view_size=96, merge_height=64))(PANORAMA, prompts(True))
    assert large.distance.isfinite().all()
    assert (large.sky == found.sky).float().mean() > 0.95


def test_invalid_pixels_of_either_network_do_not_move_the_scale():
    shape, metric = Masked(25, 0.01), Masked(40)
    found = ViewMergedDepth(shape, metric, SMALL)(PANORAMA, prompts(True))
    assert relative_error(found)[~found.sky].quantile(0.95) < 0.02


def test_a_network_that_has_no_answer_at_all_is_told():
    with pytest.raises(UserError, match=r"depth\.shape: no valid depth in any view"):
        ViewMergedDepth(Masked(-90), settings=SMALL)(PANORAMA, prompts(True))


def test_the_merged_grid_is_enlarged_to_the_panorama_and_wraps():
    settings = MergeSettings(view_size=96, merge_height=64)
    found = ViewMergedDepth(Oracle(), settings=settings)(PANORAMA, prompts(True)).distance
    assert found.shape == (128, 256)
    across = (found[:, 0] - found[:, -1]).abs().mean()
    assert across < 2 * (found[:, 1:] - found[:, :-1]).abs().mean()


def test_the_ground_is_at_least_as_low_as_asked():
    down = directions(64, 128)[..., 1]
    floor = torch.where(down > 0, 0.5 / down.clamp(min=1e-2), torch.tensor(20.0))
    assert ground_height(floor) == pytest.approx(0.5, rel=1e-3)
    raised = raise_to_ground(floor, 1.5)
    torch.testing.assert_close(raised, 3 * floor)
    torch.testing.assert_close(raise_to_ground(4 * floor, 1.5), 4 * floor)  # lower already: nothing changes


def test_auto_asks_the_estimator_that_the_prompts_suggest():
    auto = AutoDepth(indoor=lambda *_: "room", outdoor=lambda *_: "open air")
    assert auto(PANORAMA, prompts(True)) == "room"
    assert auto(PANORAMA, prompts(False)) == "open air"


@pytest.mark.parametrize(
    ("key", "value"),
    [("fov_deg", 10.0), ("merge_height", 8), ("sky_m", 0.0), ("min_ground_m", 0.0), ("rings", [[0, 4]]), ("rings", [])],
)
def test_bad_settings_name_their_key(key, value):
    with pytest.raises(UserError, match=f"depth.*{key}"):
        MergeSettings(**{key: value})


def _answering(answer):
    def network(picture):
        assert picture.shape == (1, 3, 224, 224)
        assert 0 <= picture.min() <= picture.max() <= 1
        return answer.numpy()

    return network


@pytest.mark.parametrize(("width", "height"), [(224, 224), (640, 480), (100, 300)])
def test_fastdepth_answers_finite_metres_at_the_views_size(width, height):
    answer = torch.rand(1, 1, 224, 224)
    answer[0, 0, 0, :4] = torch.tensor([float("nan"), float("inf"), -3.0, 0.0])
    network = FastDepth()
    network._loaded = _answering(answer)
    answer = network(torch.rand(3, height, width), Camera.from_fov(width, height, 70))
    zdepth = answer.zdepth
    assert answer.valid.all()
    assert zdepth.shape == (height, width)
    assert zdepth.isfinite().all()
    assert zdepth.min() > 0


def test_fastdepth_keeps_the_networks_picture_upright():
    ramp = torch.linspace(1, 5, 224)[:, None].expand(224, 224)
    network = FastDepth()
    network._loaded = _answering(ramp[None, None])
    zdepth = network(torch.rand(3, 90, 160), Camera.from_fov(160, 90, 70)).zdepth
    torch.testing.assert_close(zdepth[:, 0], zdepth[:, -1])
    assert zdepth[0].mean() == pytest.approx(1, abs=0.05)
    assert zdepth[-1].mean() == pytest.approx(5, abs=0.05)


def test_nearer_is_brighter_and_sky_is_grey():
    distance = torch.linspace(1, 50, 64).expand(2, 64)
    sky = torch.zeros(2, 64, dtype=torch.bool)
    sky[1] = True
    picture = colourise(distance, sky)
    assert picture.dtype == torch.uint8
    brightness = picture[0].float().mean(-1)
    assert (brightness.diff() <= 1).all()
    assert brightness[0] > 200
    assert brightness[-1] < 10
    assert (picture[1] == picture[1, 0]).all()
