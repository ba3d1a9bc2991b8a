"""CLIP-I and CLIP-T through a tiny CLIP in the hub's layout: the whole path from pictures to scores."""

import io
import time

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny_clip import save_tiny_clip

from eval.metrics import clip
from eval.metrics.clip import ClipImage, ClipText
from eval.metrics.networks import OnDevice
from worldgen.errors import UserError
from worldgen.models import hub
from worldgen.models.runtime import Runtime


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setattr(OnDevice, "runtime", Runtime("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("hub") / "tiny-clip")


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    sizes = [(40, 60), (32, 32), (70, 33)]
    coarse = [torch.rand(1, 3, 4, 4, generator=generator) for _ in sizes]
    return [torch.nn.functional.interpolate(c, size)[0] for c, size in zip(coarse, sizes, strict=True)]


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """A hub cache without anything in it, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def embedding(folder, **inputs):
    """By transformers alone."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder)
    answer = model.get_text_features(**inputs) if "input_ids" in inputs else model.get_image_features(**inputs)
    answer = answer if isinstance(answer, torch.Tensor) else answer.pooler_output
    return torch.nn.functional.normalize(answer.detach(), dim=-1)[0]


def shown(folder, picture):
    """What CLIP's own processor makes of the picture as an 8-bit image."""
    from torchvision.transforms.functional import to_pil_image
    from transformers import CLIPImageProcessor

    image = to_pil_image((picture * 255).round().to(torch.uint8))
    return CLIPImageProcessor.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]


def test_the_same_picture_scores_100(folder, pictures):
    metric = ClipImage(path=str(folder))
    assert metric.unavailable() is None
    values = metric(pictures, pictures)
    assert values == pytest.approx([100] * 3, abs=1e-3)
    assert max(values) <= 100


def test_clip_i_is_the_cosine_of_the_embeddings(folder, pictures):
    photo = pictures[2]
    theirs = [embedding(folder, pixel_values=shown(folder, picture)) for picture in pictures]
    expected = [100 * float(ours @ theirs[2]) for ours in theirs]
    assert ClipImage(path=str(folder))(pictures, [photo] * 3) == pytest.approx(expected, abs=0.02)
    assert min(expected) < 99


def test_clip_t_is_the_cosine_of_the_embeddings(folder, pictures):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    texts = ["a garden", "the snow", "a photo", "bridge", "in the zoo", "we"]
    pictures = pictures * 2
    expected = []
    for picture, text in zip(pictures, texts, strict=True):
        tokens = tokenizer(text, return_tensors="pt")
        read = embedding(folder, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        expected.append(max(100 * float(embedding(folder, pixel_values=shown(folder, picture)) @ read), 0))
    assert max(expected) > 1
    assert ClipText(path=str(folder))(pictures, texts) == pytest.approx(expected, abs=0.02)


def test_clip_i_is_what_torchmetrics_gives_for_one_pair(folder, pictures):
    from torchmetrics.functional.multimodal import clip_score

    ours, photo = [(picture * 255).round().to(torch.uint8) for picture in pictures[:2]]
    theirs = clip_score(ours, photo, lambda: clip._load(folder, "float32", torch.device("cpu")))
    ours = ClipImage(path=str(folder))(pictures[:1], pictures[1:2])
    assert ours == pytest.approx([float(theirs.detach())])


def test_batches_change_nothing(folder, pictures):
    photos = pictures[::-1]
    whole = ClipImage(path=str(folder))(pictures, photos)
    assert ClipImage(path=str(folder), batch=1)(pictures, photos) == pytest.approx(whole, abs=1e-3)
    assert ClipImage(path=str(folder))([], []) == []


def test_half_precision_is_close(folder, pictures):
    exact = ClipImage(path=str(folder))(pictures, pictures[::-1])
    half = ClipImage(path=str(folder), dtype="bfloat16")(pictures, pictures[::-1])
    assert half == pytest.approx(exact, abs=2)


def test_a_long_text_still_ends(folder):
    """Cut to the length that CLIP can read, with its end token in place, which is where CLIP reads the embedding."""
    _, processor = clip._load(folder, "float32", torch.device("cpu"))
    ids = processor(text=["the snow in the garden in the snow in the garden"])["input_ids"][0]
    assert len(ids) == 12
    assert ids[-1] == ids.max()


def test_versions_tell_weights_apart(folder, tmp_path):
    one = ClipImage(path=str(folder)).versions()
    assert one["model"] == "tiny-clip"
    assert {"torchmetrics", "transformers", "sha256", "dtype"} <= set(one)
    other = ClipImage(path=str(save_tiny_clip(tmp_path / "tiny-clip", seed=1))).versions()
    assert {key for key in one if one[key] != other[key]} == {"sha256"}


def test_the_hubs_cache_is_used(folder, empty_hub, pictures):
    repository = empty_hub / "models--openai--clip-vit-base-patch32"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    (repository / "snapshots" / "0123abcd").symlink_to(folder)
    metric = ClipImage()
    assert metric.unavailable() is None
    assert metric.versions()["model"] == "openai/clip-vit-base-patch32"
    assert metric.versions()["commit"] == "0123abcd"
    assert metric(pictures[:1], pictures[:1]) == pytest.approx([100], abs=1e-3)


def test_missing_weights_are_told_at_once(empty_hub, monkeypatch):
    began = time.monotonic()
    by_hand = r"put its folder on this machine and set metric.clip_i.path=<folder>"
    reason = ClipImage().unavailable()
    assert reason.startswith("openai/clip-vit-base-patch32 is not in the local hub cache; metric.clip_i.download=true")
    assert reason.endswith(f"fetches it (0.6 GB), or {by_hand}")
    with pytest.raises(UserError, match="is not in the local hub cache"):
        ClipImage()([torch.rand(3, 8, 8)], [torch.rand(3, 8, 8)])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in ClipImage(download=True).unavailable()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "answers", lambda url: False)
    assert "and huggingface.co does not answer; " + by_hand in ClipImage(download=True).unavailable()
    assert time.monotonic() - began < 20  # far below what a hub that is asked and silent costs


def test_nobody_is_waited_for(monkeypatch):
    """A host name that is looked up for ever, as behind some firewalls."""
    monkeypatch.setattr(hub, "urlopen", lambda *_, **__: time.sleep(30) or io.BytesIO())
    monkeypatch.setattr(hub, "_ANSWER_WITHIN_S", 0.1)
    began = time.monotonic()
    assert not hub.answers("https://hub.invalid")
    assert time.monotonic() - began < 20  # far below what a hub that is asked and silent costs


def test_a_folder_that_is_not_whole(folder, tmp_path):
    def reason(path):
        return ClipImage(path=str(path)).unavailable()

    assert "no such folder" in reason(tmp_path / "nowhere")
    assert "no config.json in it" in reason(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert "no model.safetensors or pytorch_model.bin in it" in reason(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    assert "no model-00001-of-00002.safetensors in it" in reason(tmp_path)
    index.write_text("half a fi")
    assert "model.safetensors.index.json cannot be read" in reason(tmp_path)


def test_missing_numbers_are_not_made_up(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"visual_projection\.weight missing among the weights"):
        ClipImage(path=str(tmp_path))([torch.rand(3, 8, 8)], [torch.rand(3, 8, 8)])


def test_damaged_weights_are_named(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be read as a CLIP model") as caught:
        ClipImage(path=str(tmp_path))([torch.rand(3, 8, 8)], [torch.rand(3, 8, 8)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "metric.clip_i.batch: 0, wanted 1 or more"),
        ({"dtype": "int4"}, "metric.clip_i.dtype: int4, wanted one of float32, float16, bfloat16"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        ClipImage(**settings)
