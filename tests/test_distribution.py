"""FID and KID: against torchmetrics and scipy on random features, in closed form, and through Inception itself."""

import numpy as np
import pytest
import scipy.linalg
import torch

from eval.metrics.distribution import Fid, Kid
from eval.metrics.networks import OnDevice
from worldgen.errors import UserError
from worldgen.models.runtime import Runtime

SMALL = torch.nn.Sequential(
    torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 8, dtype=torch.float64)
)


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setattr(OnDevice, "runtime", Runtime("cpu"))


def tiny_network(pictures):
    return SMALL(pictures.double() / 255)


def random_features(count, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing + seed


def fid_by_scipy(ours, truth):
    """The formula as it stands, by another library's matrix root."""
    s, t = (np.cov(side.numpy(), rowvar=False) for side in (ours, truth))
    root = scipy.linalg.sqrtm(s @ t).real
    difference = (ours.mean(0) - truth.mean(0)).numpy()
    return difference @ difference + np.trace(s + t - 2 * root)


@pytest.mark.parametrize(("n", "m"), [(40, 50), (7, 300)])
def test_fid_agrees_with_scipy(n, m):
    ours, truth = random_features(n, seed=1), random_features(m, seed=2)
    assert Fid().distance(ours, truth) == pytest.approx(fid_by_scipy(ours, truth), rel=1e-8)


def test_fid_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    ours, truth = random_features(40, seed=1), random_features(50, seed=2)
    theirs = _compute_fid(ours.mean(0), ours.T.cov(), truth.mean(0), truth.T.cov())
    assert Fid().distance(ours, truth) == pytest.approx(float(theirs), rel=1e-8)


def test_fid_of_fewer_pictures_than_features():
    """A Gaussian on a line, beside one three times as wide: known without any matrix root, which is singular here."""
    ours = torch.zeros(4, 100, dtype=torch.float64)
    ours[:, 0] = torch.tensor([1.0, -1, 1, -1])
    truth = ours * 3
    truth[:, 1] = 5
    spread = (4 / 3) ** 0.5  # of the first feature, unbiased
    assert Fid().distance(ours, truth) == pytest.approx(25 + (2 * spread) ** 2)


def test_fid_of_a_set_with_itself_is_zero():
    features = random_features(30)
    assert Fid().distance(features, features) == pytest.approx(0, abs=1e-9)


def test_kid_agrees_with_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    ours, truth = random_features(40, seed=1), random_features(40, seed=2)
    assert Kid().distance(ours, truth) == pytest.approx(float(poly_mmd(truth, ours)), rel=1e-10)


def test_kid_by_its_definition(monkeypatch):
    monkeypatch.setattr("eval.metrics.distribution._ROWS", 3)
    ours, truth = random_features(7, seed=1), random_features(10, seed=2)

    def mean_kernel(x, y, same):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
        return sum(float((x[i] @ y[j] / 6 + 1) ** 3) for i, j in pairs) / len(pairs)

    expected = mean_kernel(ours, ours, True) + mean_kernel(truth, truth, True) - 2 * mean_kernel(ours, truth, False)
    assert Kid().distance(ours, truth) == pytest.approx(expected, rel=1e-10)


def test_kid_has_no_bias():
    """Two halves of one population: 0 in the mean, where FID is above it."""
    halves = [(whole[:10], whole[10:]) for whole in random_features(4000, seed=0).split(20)]
    values = torch.tensor([Kid().distance(*pair) for pair in halves])
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    assert min(Fid().distance(*pair) for pair in halves[:20]) > 0


def test_kid_over_subsets():
    ours, truth = random_features(60, seed=1), random_features(60, seed=2)
    exact = Kid().distance(ours, truth)
    metric = Kid(subsets=50, subset_size=40)
    assert metric.distance(ours, truth) == pytest.approx(exact, rel=0.2)
    assert metric.distance(ours, truth) == metric.distance(ours, truth)
    assert metric.distance(ours, truth) != Kid(subsets=50, subset_size=40, seed=1).distance(ours, truth)
    assert Kid(subsets=1, subset_size=60).distance(ours, truth) == pytest.approx(exact)
    with pytest.raises(UserError, match=r"kid: 60 pictures against 30, fewer than metric.kid.subset_size=40"):
        metric.distance(ours, truth[:30])


@pytest.mark.parametrize("metric", [Fid(), Kid()])
def test_one_picture_is_no_set(metric):
    with pytest.raises(UserError, match=f"{metric.name}: 1 pictures against 5, wanted at least 2 on each side"):
        metric.distance(random_features(1), random_features(5))


def test_features_of_pictures_of_several_sizes():
    pictures = [torch.rand(3, 16, 16), torch.rand(3, 16, 16), torch.rand(3, 8, 24), torch.rand(3, 16, 16)]
    metric = Fid(features=tiny_network, batch=2)
    assert metric.unavailable() is None
    features = metric.features(pictures)
    assert (features.shape, features.dtype) == ((4, 8), torch.float64)
    one_by_one = torch.cat([metric.features([picture]) for picture in pictures])
    torch.testing.assert_close(features, one_by_one)
    torch.testing.assert_close(features[2], SMALL((pictures[2] * 255).round()[None].double() / 255)[0].detach())


def test_brighter_pictures_are_further_away():
    pictures = list(torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5)
    for metric in (Fid(features=tiny_network), Kid(features=tiny_network)):
        truth = metric.features(pictures)
        further = [metric.distance(metric.features([p + by for p in pictures]), truth) for by in (0.1, 0.2, 0.4)]
        assert further == sorted(further)


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Inception of random weights, in the file that torch-fidelity loads."""
    from unittest.mock import patch

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    empty = tmp_path_factory.mktemp("inception") / "empty.pth"
    torch.save({}, empty)
    with patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(empty))
    file = empty.with_name("weights-inception-2015-12-05-6726825d.pth")
    torch.save(network.state_dict(), file)
    return file, network


def test_through_inception(inception):
    file, network = inception
    metric = Fid(path=str(file))
    assert metric.unavailable() is None
    assert metric.versions()["inception"].startswith("sha256 ")
    picture = torch.rand(3, 40, 60)
    features = metric.features([picture])
    theirs = network((picture * 255).round().to(torch.uint8)[None])[0]
    torch.testing.assert_close(features, theirs.double())


def test_another_file_is_named(tmp_path):
    wrong = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match=r"weights\.pth: cannot be read as Inception weights") as caught:
        Fid(path=str(wrong)).features([torch.rand(3, 8, 8)])
    assert "\n" not in str(caught.value)


class Intruder:
    ran = False

    def __reduce__(self):
        return exec, ("import tests_were_intruded",)


def test_a_file_that_brings_code_is_refused(tmp_path):
    wrong = tmp_path / "weights.pth"
    torch.save({"a": Intruder()}, wrong)
    with pytest.raises(UserError, match="cannot be read as Inception weights") as caught:
        Fid(path=str(wrong)).features([torch.rand(3, 8, 8)])
    assert "tests_were_intruded" not in str(caught.value)


def test_missing_weights_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    reason = Kid().unavailable()
    assert "not in torch.hub's cache; metric.kid.download=true fetches them (96 MB), or put weights-incep" in reason
    monkeypatch.setattr("eval.metrics.distribution.answers", lambda url: False)
    assert "github.com does not answer" in Kid(download=True).unavailable()
    assert "no such file" in Fid(path=str(tmp_path / "nowhere.pth")).unavailable()
    with pytest.raises(UserError, match=r"metric\.fid\.download=true"):
        Fid().features([torch.rand(3, 8, 8)])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth").touch()
    assert Kid().unavailable() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "metric.kid.batch: 0, wanted 1 or more"),
        ({"subsets": -1}, "metric.kid.subsets: -1"),
        ({"subset_size": 1}, "metric.kid.subset_size: 1, wanted 2 or more"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        Kid(**settings)
