"""What fills the unknown for a small inpainter: copies round the horizon, sky and ground, seams closed, gaps left."""

import pytest
import torch

from tests.outdoors import meadow_view
from worldgen.embedded.overhead import grow_upwards, shows_sky
from worldgen.embedded.prefill import QuiltedPrefill
from worldgen.embedded.quilting import quilt_ring
from worldgen.embedded.texture import colour_field, plane_texture, spread_texture
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams, degrees_to_seam
from worldgen.recipe.panorama import embed

HEIGHT, WIDTH = 128, 256


@pytest.mark.parametrize("fov_deg", [20.0, 80.0, 120.0])
def test_the_ring_goes_all_round_and_keeps_the_photo_and_the_horizon(fov_deg):
    canvas = embed(meadow_view(fov_deg), WIDTH)
    ring = quilt_ring(canvas.rgb, canvas.photo)
    assert torch.equal(ring.copy == 0, canvas.photo)
    assert torch.equal(ring.rgb[:, canvas.photo], canvas.rgb[:, canvas.photo])
    assert bool((ring.copy[HEIGHT // 2 - 2 : HEIGHT // 2 + 2] >= 0).all())
    assert ring.rgb[2, HEIGHT // 2 - 4].min() > 0.7  # sky just above the horizon, everywhere
    assert ring.rgb[2, HEIGHT // 2 + 3].max() < 0.45  # ground just below


def test_a_step_between_two_halves_of_one_thing_is_closed_and_the_photo_stays():
    piece = torch.zeros(HEIGHT, WIDTH, dtype=torch.int)
    piece[:, : WIDTH // 2] = 1
    rgb = torch.full((3, HEIGHT, WIDTH), 0.5) + 0.04 * piece
    closed = close_seams(rgb, piece)
    assert torch.equal(closed[:, piece == 0], rgb[:, piece == 0])
    step = (closed - closed.roll(1, 2))[:, 16:-16].abs().mean((0, 1))
    assert step[WIDTH // 2] < 0.008
    assert step[0] < 0.008


def test_different_things_may_differ():
    piece = torch.zeros(HEIGHT, WIDTH, dtype=torch.int)
    piece[:, : WIDTH // 2] = 1
    rgb = torch.full((3, HEIGHT, WIDTH), 0.1) + 0.8 * piece
    assert (close_seams(rgb, piece) - rgb).abs().max() < 0.05


def test_degrees_to_a_seam_on_the_equator_are_latitudes():
    piece = (directions(HEIGHT, WIDTH)[..., 1] > 0).int()
    latitude = torch.rad2deg(torch.asin(directions(HEIGHT, WIDTH)[..., 1].clamp(-1, 1))).abs()
    assert (degrees_to_seam(piece) - latitude).abs().max() < 1.5


def test_no_seam_is_far_away():
    assert degrees_to_seam(torch.zeros(16, 32, dtype=torch.int)).min() == 180


def test_the_sky_field_is_the_sky_whatever_stands_against_it():
    rgb = torch.full((3, HEIGHT, WIDTH), 0.0)
    rgb[:] = torch.tensor([0.4, 0.6, 0.9])[:, None, None]
    known = directions(HEIGHT, WIDTH)[..., 1].abs() < 0.5
    rgb[:, :, ::4] = 0.1  # poles and trunks
    field = colour_field(rgb, known, down=False, is_sky=True)
    beside = field[:, HEIGHT // 3]
    assert (beside - torch.tensor([0.4, 0.6, 0.9])[:, None]).abs().max() < 0.12
    zenith = field[:, 0]
    assert bool((zenith <= beside + 0.02).all())
    assert bool((zenith[2] > zenith[0] + 0.3).all())  # still blue


def test_spread_texture_keeps_mean_and_contrast_and_depends_on_the_seed():
    generator = torch.Generator().manual_seed(1)
    texture = torch.randn(3, 32, 32, generator=generator) * 0.1
    texture = texture - texture.mean((1, 2), keepdim=True)
    x, y = torch.meshgrid(torch.arange(200.0) + 0.5, torch.arange(200.0) + 0.5, indexing="xy")
    spread = spread_texture(texture, x, y, seed=0)
    assert spread.mean().abs() < 0.01
    assert spread.std() == pytest.approx(float(texture.std()), rel=0.25)
    assert torch.equal(spread, spread_texture(texture, x, y, seed=0))
    assert not torch.equal(spread, spread_texture(texture, x, y, seed=1))


def test_ground_texture_comes_from_the_ground():
    field = torch.tensor([0.2, 0.5, 0.2])[:, None, None].expand(3, HEIGHT, WIDTH)
    texture = plane_texture(meadow_view(), field, True, 20.0)
    assert texture.mean().abs() < 1e-3
    assert 0.002 < texture.std() < 0.05


def test_columns_grow_upwards_from_their_topmost_known_row():
    columns = torch.rand(1, 1, WIDTH, generator=torch.Generator().manual_seed(0)).expand(3, HEIGHT, WIDTH)
    known = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    known[50:90] = True
    grown = grow_upwards(columns * known, known)
    torch.testing.assert_close(grown[:, 20:90], columns[:, 20:90])


def test_a_meadow_shows_sky_and_noise_shows_none():
    canvas = embed(meadow_view(), 512)
    assert shows_sky(canvas.rgb, canvas.photo)
    noise = torch.rand(3, 256, 512, generator=torch.Generator().manual_seed(0))
    coarse = torch.nn.functional.interpolate(noise[None, :, ::4, ::4], (256, 512))[0]
    assert not shows_sky(coarse * canvas.photo, canvas.photo)


def test_most_is_there_and_gaps_surround_the_photo():
    photo = meadow_view()
    canvas = embed(photo, WIDTH)
    rgb, known = QuiltedPrefill(gap_deg=4.0)(photo, canvas.rgb, canvas.photo, False, 0)
    assert 0.4 < known.float().mean() < 0.95
    assert torch.equal(rgb[:, canvas.photo], canvas.rgb[:, canvas.photo])
    beside = (degrees_to_seam(canvas.photo) < 2) & ~canvas.photo
    assert not bool(known[beside].any())
    assert bool(known[-1].all())  # the ground under the viewer


def test_wrong_settings_name_the_key():
    with pytest.raises(UserError, match=r"panorama\.prefill\.gap_deg: 0, wanted"):
        QuiltedPrefill(gap_deg=0)
