"""Prompts by vision-language models: transformers' own classes, from tiny checkpoints in the hub's layout to words."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_clip import save_tiny_clip
from tiny_vlm import save_tiny_llama, save_tiny_qwen

from worldgen.config import choice, instantiate
from worldgen.errors import UserError
from worldgen.models.conformance import check_prompter, picture
from worldgen.models.runtime import Runtime
from worldgen.models.vision_language import as_image, wait_by_layers
from worldgen.models.vlm import VlmPrompter

SAVE = {"qwen": save_tiny_qwen, "llama": save_tiny_llama}
FAMILIES = sorted(SAVE)
QWEN_FIRST = ["qwen", pytest.param("llama", marks=pytest.mark.slow)]
GOOD = {
    "indoor": True,
    "atmosphere": "a dim library",
    "sky": "vaulted stone",
    "ground": "oak floor",
    "negative": "desk",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: save(tmp_path_factory.mktemp("hub") / name) for name, save in SAVE.items()}


def prompter(folder: Path, **settings) -> VlmPrompter:
    """Loaded; of answers so short that they cost nothing."""
    made = VlmPrompter("owner/name", path=str(folder), **{"most_tokens": 16, "longest_px": 64} | settings)
    made.load(Runtime())
    return made


def say(adapter: VlmPrompter, rgb: torch.Tensor, *texts: str) -> str:
    turns = [(("user", "assistant")[number % 2], text) for number, text in enumerate(texts)]
    return adapter._say(as_image(rgb, adapter.longest_px), turns)


@pytest.fixture
def answers(monkeypatch):
    """What the processor makes of the network's tokens from now on, and the number of tokens that it was given."""
    from transformers import ProcessorMixin

    said: list[str] = []
    given: list[int] = []

    def decode(self, tokens, **options) -> str:
        given.append(len(tokens))
        return said.pop(0) if len(said) > 1 else said[0]

    monkeypatch.setattr(ProcessorMixin, "decode", decode)
    return said, given


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_random_weights_talks_nonsense_and_that_is_told(folders, name):
    adapter = prompter(folders[name])
    with pytest.raises(UserError, match=r"owner/name was asked twice and answers .*: no JSON object") as caught:
        adapter(picture())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_picture_and_the_question_decide_and_nothing_is_drawn(folders, name):
    adapter = prompter(folders[name])
    first = say(adapter, picture(), "Where is it?")
    torch.manual_seed(1)
    assert say(adapter, picture(), "Where is it?") == first
    assert say(adapter, 1 - picture(3), "Where is it?") != first
    assert say(adapter, picture(), "What hangs overhead?", "A lamp.", "No, it does not.") != first


def test_every_word_is_the_most_likely_one(folders):
    adapter = prompter(folders["qwen"])
    image = as_image(picture(), 64)
    content = [{"type": "image", "image": image}, {"type": "text", "text": "Where?"}]
    inputs = adapter.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        most_likely = adapter._network(**inputs).logits[0, -1].argmax()
    assert say(adapter, picture(), "Where?").startswith(adapter.processor.decode(most_likely))


@pytest.mark.parametrize("name", QWEN_FIRST)
def test_it_keeps_its_contract(folders, name, answers):
    said, given = answers
    said.append(f"```json\n{json.dumps(GOOD)}\n```")
    check_prompter(VlmPrompter("owner/name", path=str(folders[name]), longest_px=64, most_tokens=16))
    assert given
    assert max(given) <= 16  # what follows the question, and no more


def test_prompts_are_what_it_says_and_say_who_said_it(folders, answers):
    answers[0].append(json.dumps(GOOD))
    assert vars(prompter(folders["qwen"])(picture())) == GOOD | {"source": "owner/name"}


def test_it_is_asked_again_in_the_same_conversation(folders, answers, monkeypatch):
    asked = []
    adapter = prompter(folders["qwen"])
    heard = adapter.processor.apply_chat_template
    monkeypatch.setattr(
        adapter.processor, "apply_chat_template", lambda turns, **rest: asked.append(turns) or heard(turns, **rest)
    )
    answers[0][:] = ["Certainly!", json.dumps(GOOD)]
    assert adapter(picture()).ground == "oak floor"
    first, second = asked
    assert [turn["role"] for turn in second] == ["user", "assistant", "user"]
    assert second[0] == first[0]
    assert [part["type"] for part in first[0]["content"]] == ["image", "text"]
    assert "no JSON object" in second[2]["content"][0]["text"]


def test_coarse_and_style_reach_the_question(folders, answers):
    answers[0].append(json.dumps({"indoor": True, "atmosphere": "a library", "negative": "", "medium": "an etching"}))
    prompts = prompter(folders["qwen"], coarse=True, style=True)(picture())
    assert prompts.sky == prompts.ground == prompts.atmosphere == "a library, an etching"


@pytest.mark.parametrize("name", QWEN_FIRST)
def test_sixteen_bits(folders, name):
    adapter = VlmPrompter("owner/name", path=str(folders[name]), longest_px=64, most_tokens=16)
    adapter.load(Runtime(dtype="bfloat16"))
    assert adapter._network.dtype == torch.bfloat16
    assert say(adapter, picture(), "Where?") == say(adapter, picture(), "Where?")
    adapter.release()
    assert adapter._network is None


def test_offload_needs_a_gpu(folders):
    with pytest.raises(UserError, match=r"runtime.offload: model, wanted none"):
        VlmPrompter("owner/name", path=str(folders["qwen"])).load(Runtime(device="cpu", offload="model"))


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_that_wait_for_their_turn_say_the_same(folders, name):
    """As with runtime.offload=sequential on a GPU; here they only go to wait and come back."""
    adapter = prompter(folders[name])
    first = say(adapter, picture(), "Where?")
    wait_by_layers(adapter._network, torch.device("cpu"))
    assert next(adapter._network.parameters()).is_meta
    assert say(adapter, picture(), "Where?") == first


def test_a_large_photo_is_made_smaller_and_a_small_one_stays():
    assert as_image(torch.rand(3, 300, 400), 100).size == (100, 75)
    assert as_image(torch.rand(3, 30, 4000), 100).size == (100, 1)
    rgb = (picture() * 255).round() / 255
    kept = torch.frombuffer(bytearray(as_image(rgb, 1024).tobytes()), dtype=torch.uint8).reshape(96, 128, 3)
    assert torch.equal(kept.movedim(-1, 0).float() / 255, rgb)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"longest_px": 8}, "prompts.longest_px: 8, wanted a whole number from 64"),
        ({"most_tokens": 1e3}, "prompts.most_tokens: 1000.0, wanted a whole number from 16"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        VlmPrompter("owner/name", **settings)


def broken(folder: Path, to: Path, what: str) -> Path:
    """A copy of a checkpoint with a fault."""
    shutil.copytree(folder, to)
    if what == "a weight":
        weights = load_file(to / "model.safetensors")
        weights.pop(next(name for name in weights if "norm" in name))
        save_file(weights, to / "model.safetensors", {"format": "pt"})
    elif what == "half a file":
        whole = (to / "model.safetensors").read_bytes()
        (to / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    else:
        (to / what).unlink()
    return to


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("a weight", "missing among the weights"),
        ("half a file", "cannot be loaded as an image-text-to-text model"),
        ("model.safetensors", "no model.safetensors or pytorch_model.bin in it"),
        ("config.json", "no config.json in it"),
        ("processor_config.json", "cannot be loaded as an image-text-to-text model"),
    ],
)
def test_a_folder_cut_short_is_told(folders, tmp_path, what, message):
    with pytest.raises(UserError, match=message) as caught:
        prompter(broken(folders["qwen"], tmp_path / "broken", what))
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_chat_is_told(folders, tmp_path):
    adapter = prompter(broken(folders["qwen"], tmp_path / "broken", "chat_template.jinja"))
    with pytest.raises(UserError, match=r"prompts.model: owner/name: .*chat template.*; wanted a model that chats"):
        adapter(picture())


@pytest.mark.slow
def test_another_kind_of_network_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded as an image-text-to-text model") as caught:
        prompter(save_tiny_clip(tmp_path / "clip"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["vlm", "llama", "coarse"])
def test_configs_name_models_that_the_hub_may_have(name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    adapter = instantiate(choice("prompts", name))
    assert adapter.coarse == (name == "coarse")
    assert adapter.unavailable().startswith(f"{adapter.model} is not in the local hub cache; prompts.download=true")
    with pytest.raises(UserError, match="is not in the local hub cache"):
        adapter.load(Runtime())
