"""Which pixels of a photo are sky: cells, the rule that ships, and outlines at the photo's edges."""

import numpy as np
import pytest
import torch

from worldgen.embedded.efficientnet_lite import EfficientNetLite0
from worldgen.embedded.photo_sky import CELL, FEATURES, RULE, cell_features, drawn, photo_sky, resized, rule_odds


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


@pytest.mark.parametrize(("size", "wanted"), [((600, 800), (240, 320)), ((800, 50), (320, 64)), ((30, 40), (240, 320))])
def test_a_photo_is_judged_in_whole_cells(size, wanted):
    assert resized(torch.rand(3, *size)).shape == (3, *wanted)
    assert all(side % CELL == 0 for side in wanted)


def test_every_cell_has_its_features_whatever_the_photo_shows(network):
    for rgb in (torch.rand(3, 72, 104), torch.zeros(3, 72, 104), torch.ones(3, 72, 104)):
        features = cell_features(network, rgb)
        assert features.shape == (FEATURES, 9, 13)
        assert features.isfinite().all()


def test_the_rule_that_ships_fits_the_features():
    assert RULE.stat().st_size < 100_000
    with np.load(RULE) as rule:
        assert rule["weights"].shape == (FEATURES,)
        assert rule["weights"].dtype == np.float32
        assert np.isfinite(rule["weights"]).all()
        assert np.isfinite(rule["bias"])


def test_a_mask_has_the_photos_size(network):
    rgb = torch.rand(3, 90, 160)
    assert rule_odds(network, rgb).shape == (22, 40)
    mask = photo_sky(network, rgb)
    assert mask.shape == (90, 160)
    assert mask.dtype == torch.bool


def test_an_outline_follows_a_roof_that_cells_cannot():
    rows, columns = torch.meshgrid(torch.arange(240), torch.arange(320), indexing="ij")
    sky = rows < 100 + 0.5 * (columns - 160).abs()
    rgb = torch.where(sky, torch.tensor([0.5, 0.6, 0.9])[:, None, None], torch.tensor([0.5, 0.3, 0.2])[:, None, None])
    coarse = torch.nn.functional.avg_pool2d(sky.float()[None], 32)[0]
    cells = torch.nn.functional.interpolate(coarse[None, None], (30, 40), mode="bilinear")[0, 0]
    mask = drawn(8 * (cells - 0.5), rgb)
    assert (mask & sky).sum() / (mask | sky).sum() > 0.98


def test_where_nothing_is_likely_nothing_is_drawn():
    assert not drawn(torch.full((30, 40), -3.0), torch.rand(3, 240, 320)).any()
    assert drawn(torch.full((30, 40), 3.0), torch.rand(3, 240, 320)).all()
