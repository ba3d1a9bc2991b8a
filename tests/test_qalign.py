"""Q-Align and Q-ReAlign through tiny networks in the hub's layout: the whole path from a picture to its score."""

import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny_qalign import save_tiny_qalign, save_tiny_qrealign
from torchvision.transforms.functional import to_pil_image

from eval.metrics.networks import OnDevice
from eval.metrics.qalign import QAlign, _load
from tests.pyiqas_llama import whole_transformers
from worldgen.errors import UserError
from worldgen.models.runtime import Runtime


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setattr(OnDevice, "runtime", Runtime("cpu"))


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, 40, 60, generator=generator), torch.zeros(3, 60, 20), torch.ones(3, 30, 30)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder, and the network that was saved there."""
    folder = tmp_path_factory.mktemp("hub") / "one-align"
    return folder, save_tiny_qalign(folder)


@pytest.fixture(scope="module")
def successor(tmp_path_factory):
    pytest.importorskip("transformers.models.qwen3_5", reason="Q-ReAlign's network came with transformers 5.2")
    folder = tmp_path_factory.mktemp("hub") / "q-realign"
    save_tiny_qrealign(folder)
    return folder


@pytest.mark.parametrize("task", ["quality", "aesthetic"])
def test_qalign_scores_as_the_network_that_was_saved(task, built, pictures):
    """pyiqa's network, the authors' code, as it is built in memory and asked directly, against ours and its weights."""
    folder, network = built
    images = [to_pil_image((picture * 255).round().to(torch.uint8)) for picture in pictures]
    with whole_transformers():
        expected = [float(network.score([image], task_=task)) for image in images]
    metric = QAlign(task, path=str(folder))
    assert metric.unavailable() is None
    assert metric(pictures, [None] * 3) == pytest.approx(expected, abs=0.01)
    assert len(set(expected)) > 1
    assert all(1 <= value <= 5 for value in expected)


def test_qalign_reads_its_prompt_from_the_first_token_on(built):
    """Whichever transformers: version 5 leaves it out where tokenizer_config.json does not ask for it."""
    network = _load("qalign", built[0], "float16", torch.device("cpu"))
    ids = network.tokenizer("USER: How would you rate").input_ids
    assert ids[0] == network.tokenizer.bos_token_id
    assert len(set(network.word_ids)) == 5


def test_qrealign_scores_as_pyiqa(successor, pictures):
    import pyiqa.archs.qrealign_arch as theirs

    network = theirs.QReAlign(model=str(successor), dtype="auto")
    for task in ("quality", "aesthetic"):
        expected = network(pictures[0][None], task_=task).tolist()
        ours = QAlign(task, model="qrealign", path=str(successor))(pictures[:1], [None])
        assert ours == pytest.approx(expected, abs=0.002)


def test_missing_weights_are_named(built, tmp_path):
    folder = shutil.copytree(built[0], tmp_path / "cut")
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    del weights["model.norm.weight"]
    save_file(weights, file)
    with pytest.raises(UserError, match=r"cut: model\.norm\.weight missing among the weights"):
        QAlign(path=str(folder))([torch.rand(3, 8, 8)], [None])


def test_qrealign_rates_between_0_and_1(successor, pictures):
    values = {}
    for task in ("quality", "aesthetic"):
        metric = QAlign(task, model="qrealign", path=str(successor))
        assert metric.unavailable() is None
        values[task] = metric(pictures, [None] * 3)
        assert all(0 < value < 1 for value in values[task])
        assert len(set(values[task])) == 3
    assert values["quality"] != values["aesthetic"]


def test_qrealign_weighs_the_five_words(successor, pictures):
    """Where the network is sure of one word, the score is that word's."""
    metric = QAlign(model="qrealign", path=str(successor))
    rater = _load("qrealign", successor, "auto", torch.device("cpu"))
    last = rater.network.lm_head.weight
    kept = last.data.clone()
    try:
        for word, rating in zip(rater.word_ids, (1.0, 0.75, 0.5, 0.25, 0.0), strict=True):
            hidden = _last_hidden(rater, pictures[0])
            last.data[rater.word_ids] = -hidden
            last.data[word] = hidden
            assert metric(pictures[:1], [None]) == pytest.approx([rating], abs=1e-3)
    finally:
        last.data.copy_(kept)


@torch.no_grad()
def _last_hidden(rater, picture):
    """What the head of the network reads: its answers are the product with it."""
    seen = []
    handle = rater.network.lm_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, -1]))
    rater.score(to_pil_image((picture * 255).round().to(torch.uint8)), "quality")
    handle.remove()
    return seen[0].detach()


def test_names_and_versions(built):
    metric = QAlign("aesthetic", path=str(built[0]))
    assert (metric.name, metric.better, metric.needs) == ("qalign_aesthetic", "higher", "nothing")
    assert QAlign("quality", model="qrealign").name == "qrealign_quality"
    assert metric.versions()["model"] == "one-align"
    assert {"worldgen", "transformers", "sha256", "dtype"} <= set(metric.versions())


def test_missing_weights_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    reason = QAlign().unavailable()
    assert reason.startswith("q-future/one-align is not in the local hub cache; metric.qalign_quality.download=true")
    reason = QAlign("aesthetic", model="qrealign", size="pro").unavailable()
    assert reason.startswith("q-future/Q-ReAlign-Pro-9B is not in the local hub cache")
    assert "metric.qrealign_aesthetic.path=<folder>" in reason


def test_a_folder_of_something_else_is_named(successor, built):
    for model, folder in (("qalign", successor), ("qrealign", built[0])):
        with pytest.raises(UserError, match=f"{folder.name}: ") as caught:
            QAlign(model=model, path=str(folder))([torch.rand(3, 8, 8)], [None])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "beauty"}, "task: beauty, wanted one of quality, aesthetic"),
        ({"model": "clip"}, "model: clip, wanted one of qalign, qrealign"),
        ({"model": "qrealign", "size": "huge"}, "metric.qrealign_quality.size: huge, wanted one of mini, lite, pro"),
        ({"dtype": "float64"}, "metric.qalign_quality.dtype: float64, wanted one of float16, bfloat16, float32"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        QAlign(**settings)
