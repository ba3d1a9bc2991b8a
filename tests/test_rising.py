"""What stands taller than a photo reaches goes on upwards and fades; what is plain stays plain."""

import torch

from worldgen.embedded.rising import overhead
from worldgen.geometry.equirect import directions

HEIGHT, WIDTH = 256, 512
BORDER = HEIGHT // 2 - 40  # the first row that is known
DEGREE = HEIGHT / 180
FIELD = torch.tensor([0.5, 0.6, 0.5])[:, None, None].expand(3, HEIGHT, WIDTH)

NOWHERE = torch.zeros(WIDTH, dtype=torch.bool)


def known() -> torch.Tensor:
    seen = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    seen[BORDER:-BORDER] = True
    return seen


def above(degrees: float) -> int:
    """The row so far above what is known."""
    return BORDER - 1 - round(degrees * DEGREE)


def test_trunks_go_on_up_and_fade_into_the_plain_colour():
    trunks = 0.5 * torch.where((torch.arange(WIDTH) // 8) % 2 == 1, 1.0, 0.1)
    half = overhead(trunks.expand(3, HEIGHT, WIDTH), known(), NOWHERE, FIELD, False, False, 0).rgb
    middle = torch.arange(4, WIDTH, 8)
    assert (half[:, above(0)][:, middle] - trunks[middle]).abs().max() < 0.2
    dark = middle[trunks[middle] < 0.2]
    assert (half[:, above(4)][:, dark] - trunks[dark]).abs().max() < 0.15
    contrast = [float(half[:, above(degrees)].mean(0).std()) for degrees in (0, 15, 30, 45)]
    assert contrast[0] > 0.15
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[-1] < 0.5 * contrast[0]


def test_leaves_come_again_upright_and_fade():
    leaves = 0.5 + 0.1 * torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    half = overhead(leaves, known(), NOWHERE, FIELD, False, False, 0).rgb
    assert half[:, above(20)].std() > 0.05
    assert (half[:, 0] - FIELD[:, 0]).abs().max() < 0.05
    rows = torch.arange(-10, -7)  # so far above the border a band has begun, and does not fade into the next one yet
    grown, upright, mirrored = half[:, BORDER + rows], leaves[:, BORDER + 20 + rows], leaves[:, BORDER - 1 - rows]
    assert torch.corrcoef(torch.stack([grown.flatten(), upright.flatten()]))[0, 1] > 0.9
    assert abs(torch.corrcoef(torch.stack([grown.flatten(), mirrored.flatten()]))[0, 1]) < 0.5


def test_in_a_room_the_ceiling_is_near():
    shelves = 0.5 + 0.1 * torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    half = overhead(shelves, known(), NOWHERE, FIELD, False, True, 0)
    assert half.standing.max() == 0
    assert (half.rgb - FIELD[:, : HEIGHT // 2]).abs().max() < 0.06


def test_one_tree_before_the_sky_ends():
    tree = torch.where((torch.arange(WIDTH) - 100).abs() < 8, 0.3, 0.6).expand(3, HEIGHT, WIDTH)
    assert overhead(tree, known(), NOWHERE, FIELD, False, False, 0).standing.max() < 0.2


def test_before_a_sky_what_is_tall_ends():
    trunks = 0.5 * torch.where((torch.arange(WIDTH) // 8) % 2 == 1, 1.0, 0.1).expand(3, HEIGHT, WIDTH)
    ended = overhead(trunks, known(), NOWHERE, FIELD, True, False, 0)
    assert ended.standing.max() == 0
    assert torch.equal(ended.rgb, FIELD[:, : HEIGHT // 2])


def test_a_plain_sky_goes_on_plain():
    sky = directions(HEIGHT, WIDTH)[..., 1].expand(3, -1, -1) * 0.2 + 0.5
    half = overhead(sky, known(), NOWHERE, sky, True, False, 0).rgb
    assert half.diff(dim=2).abs().max() < 1e-3
    assert (half - sky[:, : HEIGHT // 2])[:, :BORDER].abs().max() < 0.06


def test_the_grain_overhead_depends_on_the_seed_alone():
    grey = torch.full((3, HEIGHT, WIDTH), 0.5)
    first, again, other = (overhead(grey, known(), NOWHERE, FIELD, False, False, seed).rgb for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert 0.003 < (first - FIELD[:, : HEIGHT // 2]).std() < 0.01
    assert not torch.equal(first, other)


def test_where_nothing_is_known_there_is_the_plain_colour():
    seen = known()
    seen[:, : WIDTH // 2] = False
    half = overhead(torch.zeros(3, HEIGHT, WIDTH), seen, NOWHERE, FIELD, False, False, 0).rgb
    assert (half - FIELD[:, : HEIGHT // 2])[..., 20 : WIDTH // 2 - 20].abs().max() < 0.06
    assert bool(half.isfinite().all())


def test_columns_that_are_to_fade_go_on_without_detail():
    red = torch.tensor([0.9, 0.1, 0.1])[:, None, None].expand(3, HEIGHT, WIDTH)
    fading = torch.arange(WIDTH) < WIDTH // 2
    half = overhead(red, known(), fading, FIELD, True, False, 0)
    assert (half.rgb[:, above(0), : WIDTH // 2] - red[:, 0, : WIDTH // 2]).abs().max() < 0.02
    assert (half.rgb[:, above(0), WIDTH // 2 :] - FIELD[:, 0, WIDTH // 2 :]).abs().max() < 0.02
    assert torch.equal(half.standing, fading.float())


def test_a_step_in_the_border_of_what_is_known_does_not_go_on_up():
    seen = known()
    seen[BORDER : BORDER + 12, WIDTH // 2 :] = False
    dark = torch.full((3, HEIGHT, WIDTH), 0.1)
    half = overhead(dark, seen, torch.ones(WIDTH, dtype=torch.bool), FIELD, True, False, 0).rgb
    assert half[:, above(20) : above(4)].diff(dim=2).abs().max() < 0.02
    assert (half[:, above(0), WIDTH // 8 : WIDTH * 3 // 8] - 0.1).abs().max() < 0.05
