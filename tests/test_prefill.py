"""What fills the unknown for a small inpainter: copies round the horizon, sky and ground, seams closed, gaps left."""

import pytest
import torch

from tests.outdoors import meadow_view
from worldgen.embedded.plain_ring import plain_ring
from worldgen.embedded.prefill import QuiltedPrefill
from worldgen.embedded.quilting import quilt_ring
from worldgen.embedded.singular import strangeness
from worldgen.embedded.texture import colour_field, grain, lit_from_above, plane_texture, spread_texture
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams, degrees_to_seam
from worldgen.recipe.panorama import embed
from worldgen.types import View

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


def test_a_strip_of_grass_below_a_white_wall_is_the_ground():
    down = directions(HEIGHT, WIDTH)[..., 1]
    wall, grass = torch.full((3,), 0.9), torch.tensor([0.1, 0.3, 0.1])
    rgb = torch.where(down[None] > 0.42, grass[:, None, None], wall[:, None, None])
    field = colour_field(rgb, down < 0.5, down=True, is_sky=False)
    assert (field[:, -HEIGHT // 4 :] - grass[:, None, None]).abs().max() < 0.1


@pytest.mark.parametrize(
    ("plain", "gaps", "lit"),
    [(0.2, 0.9, 0.53), (0.2, 0.4, 0.4), (0.2, 0.1, 0.2), (0.7, 0.9, 0.7)],
    ids=["gaps in leaves", "as bright as it gets", "all is dark", "bright already"],
)
def test_under_leaves_light_comes_from_above(plain, gaps, lit):
    known = directions(HEIGHT, WIDTH)[..., 1].abs() < 0.5
    rgb = torch.full((3, HEIGHT, WIDTH), gaps)
    rgb[:, :, ::4] = 0.1
    field = torch.tensor([plain - 0.05, plain, plain + 0.05])[:, None, None].expand(3, HEIGHT, WIDTH)
    above = lit_from_above(field, rgb, known)
    assert above.mean() == pytest.approx(lit, abs=0.01)
    assert (above[2] - above[0]).mean() == pytest.approx(0.1, abs=0.01)  # of the same colour


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
    texture = plane_texture(meadow_view(), field, 20.0)
    assert texture.mean().abs() < 1e-3
    assert 0.002 < texture.std() < 0.05


def portrait() -> View:
    """Somebody in a motley red coat before a sky-blue wall, over a green floor."""
    camera = meadow_view().camera
    motley = (
        torch.rand(3, 8, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([0, 0.6, 0.6])[:, None, None]
    )
    motley[0] = 1.0
    rgb = torch.tensor([0.5, 0.7, 0.9])[:, None, None].repeat(1, camera.height, camera.width)
    rgb[:, camera.height // 2 :] = torch.tensor([0.2, 0.5, 0.2])[:, None, None]
    body = (slice(None), slice(20, -10), slice(camera.width // 3, camera.width * 2 // 3))
    rgb[body] = torch.nn.functional.interpolate(motley[None], rgb[body].shape[1:], mode="nearest")[0]
    return View(camera, rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


def test_what_comes_once_is_stranger_than_what_comes_again():
    once, again = portrait().rgb, meadow_view().rgb
    assert strangeness(once) > 0.15
    assert strangeness(again) < 0.1
    assert strangeness(once.flip(-1)) == pytest.approx(strangeness(once), abs=0.01)
    twice = torch.cat([once, once], 2)
    assert strangeness(twice) < 0.5 * strangeness(once)


def test_a_thing_that_comes_once_stands_in_the_world_once():
    photo = portrait()
    canvas = embed(photo, WIDTH)
    rgb, known, _ = QuiltedPrefill()(photo, canvas.rgb, canvas.photo, True, 0)
    red = (rgb[0] > rgb[1] + 0.3) & known
    assert bool(red.any())
    assert not bool((red & ~canvas.photo).any())
    behind = rgb[:, :, :8].mean(2)
    assert (behind[:, HEIGHT * 2 // 5] - torch.tensor([0.5, 0.7, 0.9])).abs().max() < 0.1
    assert (behind[:, HEIGHT * 3 // 5] - torch.tensor([0.2, 0.5, 0.2])).abs().max() < 0.1


def test_the_plain_ring_joins_both_sides_and_keeps_the_photo():
    photo = portrait()
    photo.rgb[2] = torch.linspace(0, 1, photo.camera.width)
    canvas = embed(photo, WIDTH)
    ring = plain_ring(canvas.rgb, canvas.photo, None)
    assert torch.equal(ring.copy == 0, canvas.photo)
    assert torch.equal(ring.rgb[:, canvas.photo], canvas.rgb[:, canvas.photo])
    row = ring.rgb[2, HEIGHT // 2]
    assert bool((ring.copy[HEIGHT // 2] >= 0).all())
    right = int(canvas.photo[HEIGHT // 2].nonzero().max()) + 1
    behind = torch.cat([row[right:], row[: WIDTH - right]])
    assert bool((behind.diff() <= 1e-4).all())  # from the right's blue down to the left's, round the back
    assert row[right] > 0.8
    assert behind[-1] < 0.2


def test_outdoors_a_thing_that_comes_once_stands_on_open_land():
    photo = portrait()
    photo.rgb[:, :, :30] = torch.tensor([0.95, 0.9, 0.2])[:, None, None]  # a yellow wall at the left
    canvas = embed(photo, WIDTH)
    filled = QuiltedPrefill()(photo, canvas.rgb, canvas.photo, False, 0)
    assert "open land" in filled.guesses["beside_the_photo"]
    behind = filled.rgb[:, :, :8].mean(2)
    above, below = behind[:, HEIGHT // 2 - 4], behind[:, HEIGHT // 2 + 4]
    assert above[2] > above[0] + 0.1  # blue down to the horizon, which the wall does not reach
    assert below[1] > below[2] + 0.1
    assert below[1] > below[0] + 0.1


def disc_on_noise(size: int = 48) -> torch.Tensor:
    """A texture [3, N, N] of coarse noise, streaked from left to right, with something bold in it."""
    noise = torch.randn(3, size, size, generator=torch.Generator().manual_seed(3))
    texture = 0.1 * torch.nn.functional.avg_pool2d(noise[None], (1, 9), stride=1, padding=(0, 4))[0]
    far = torch.cartesian_prod(torch.arange(size), torch.arange(size)).view(size, size, 2) - size // 2
    texture[:, far.square().sum(-1) < 30] = 0.8
    return texture - texture.mean((1, 2), keepdim=True)


def test_nothing_is_recognised_in_grain():
    texture = disc_on_noise()
    made = grain(texture, 0, most_contrast=1.0)
    assert made.mean().abs() < 1e-4
    assert made.std() < 0.6 * texture.std()  # the noise's contrast, not the disc's
    assert made.abs().max() < 6 * made.std()
    for mirrored in (made.flip(-1), made.flip(-2), made.transpose(-1, -2)):
        centred = torch.fft.irfft2(torch.fft.rfft2(made) * torch.fft.rfft2(mirrored).conj(), s=made.shape[1:]).sum(0)
        assert centred.abs().max() < 0.5 * made.square().sum()


def test_grain_has_no_direction_goes_on_round_its_border_and_is_never_bold():
    made = grain(disc_on_noise(), 0, most_contrast=0.02)
    across, along = (made - made.roll(1, 2)).std(), (made - made.roll(1, 1)).std()
    assert across == pytest.approx(float(along), rel=0.15)  # the streaks are gone
    assert (made - made.roll(1, 2))[:, :, 0].std() == pytest.approx(float(across), rel=0.4)
    assert made.std() == pytest.approx(0.02, rel=1e-3)
    assert not torch.equal(made, grain(disc_on_noise(), 1, most_contrast=0.02))


def crowded_view(times: int) -> View:
    """A photo full of bold things from its top to its bottom, the same ones so many times."""
    camera = meadow_view().camera
    things = torch.rand(3, camera.height // 6, 24 // times, generator=torch.Generator().manual_seed(0))
    coarse = things.repeat(1, 1, times)
    rgb = torch.nn.functional.interpolate(coarse[None], (camera.height, camera.width), mode="nearest")[0]
    return View(camera, rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


@pytest.mark.parametrize("times", [1, 4])  # a plain ring, and copies
@pytest.mark.parametrize("indoor", [False, True])
def test_overhead_and_underfoot_are_plain_whatever_the_photo_shows_and_the_guess(times, indoor):
    """No copies upside down, no ornaments: both were there."""
    photo = crowded_view(times)
    canvas = embed(photo, WIDTH)
    rgb, known, guesses = QuiltedPrefill()(photo, canvas.rgb, canvas.photo, indoor, 0)
    assert guesses["overhead"] == ("ceiling, plain" if indoor else "plain, for no sky is seen")
    assert rgb[:, canvas.photo].std() > 0.2
    for pole in (slice(0, HEIGHT // 6), slice(-HEIGHT // 6, None)):
        assert bool(known[pole].all())
        assert rgb[:, pole].std((1, 2)).max() < 0.1


@pytest.mark.parametrize(("columns", "wanted"), [(0.0, "plain"), (0.05, "plain"), (0.3, "sky"), (1.0, "sky")])
def test_overhead_is_sky_if_some_of_what_the_photo_shows_highest_up_is(columns, wanted):
    photo = meadow_view()

    def sky(rgb):
        shown = torch.zeros(rgb.shape[1:], dtype=torch.bool)
        shown[: rgb.shape[1] // 3, : round(columns * rgb.shape[2])] = True
        return shown

    canvas = embed(photo, WIDTH)
    guesses = QuiltedPrefill(sky=sky)(photo, canvas.rgb, canvas.photo, False, 0).guesses
    assert guesses["overhead"].startswith(wanted)
    nothing_asked = QuiltedPrefill(sky=None)(photo, canvas.rgb, canvas.photo, False, 0).guesses
    assert nothing_asked["overhead"].startswith("plain")


@pytest.mark.parametrize(
    ("photo", "indoor", "beside", "overhead"),
    [
        (meadow_view(), False, "copies", "sky"),
        (meadow_view(), True, "copies", "ceiling"),
        (portrait(), True, "sides", ""),
    ],
)
def test_it_says_what_it_took_the_photo_for(photo, indoor, beside, overhead):
    canvas = embed(photo, WIDTH)
    guesses = QuiltedPrefill()(photo, canvas.rgb, canvas.photo, indoor, 0).guesses
    assert beside in guesses["beside_the_photo"]
    assert "clear" in guesses["beside_the_photo"]
    assert overhead in guesses["overhead"]


def test_most_is_there_and_gaps_surround_the_photo():
    photo = meadow_view()
    canvas = embed(photo, WIDTH)
    rgb, known, _ = QuiltedPrefill(gap_deg=4.0)(photo, canvas.rgb, canvas.photo, False, 0)
    assert 0.4 < known.float().mean() < 0.95
    assert torch.equal(rgb[:, canvas.photo], canvas.rgb[:, canvas.photo])
    beside = (degrees_to_seam(canvas.photo) < 2) & ~canvas.photo
    assert not bool(known[beside].any())
    assert bool(known[-1].all())  # the ground under the viewer


def test_wrong_settings_name_the_key():
    with pytest.raises(UserError, match=r"panorama\.prefill\.gap_deg: 0, wanted"):
        QuiltedPrefill(gap_deg=0)
