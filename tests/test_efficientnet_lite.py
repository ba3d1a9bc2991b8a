"""EfficientNet-Lite0 against timm's implementation of the same network, with random weights in the file's layout."""

import pytest
import timm
import torch

from worldgen.embedded.efficientnet_lite import SIZE, EfficientNetLite0, load_network


def random_weights() -> dict[str, torch.Tensor]:
    """Of every layer; statistics, too, as pictures have them, lest rounding grow from layer to layer."""
    torch.manual_seed(0)
    network = EfficientNetLite0()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
            torch.nn.init.normal_(layer.weight, 1, 0.2)
            torch.nn.init.normal_(layer.bias, 0, 0.2)
    network.train()(torch.rand(4, 3, 96, 96))
    return network.state_dict()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Ours, and timm's with the same numbers in the same order."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_weights(), path)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own = theirs.state_dict()
    assert [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in random_weights().values()]
    theirs.load_state_dict(dict(zip(own, random_weights().values(), strict=True)))
    return load_network(path), theirs


@pytest.mark.parametrize("size", [(SIZE, SIZE), (97, 64), (33, 225)])
def test_it_answers_as_another_implementation(pair, size):
    ours, theirs = pair
    rgb = torch.rand(2, 3, *size)
    with torch.no_grad():
        wanted = theirs((255 * rgb - 127) / 128)
    assert wanted.std() > 0.1
    torch.testing.assert_close(ours(rgb), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_each_picture_of_a_batch_is_looked_at_by_itself(pair):
    rgb = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(pair[0](rgb)[1:2], pair[0](rgb[1:2]), rtol=1e-3, atol=1e-4)


def test_another_networks_file_is_refused(tmp_path):
    weights = random_weights()
    weights.pop("_fc.bias")
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match=r"_fc\.bias"):
        load_network(tmp_path / "other.pth")
