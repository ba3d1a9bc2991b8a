"""The caption baseline through Florence-2's own code, from a tiny checkpoint in the hub's layout."""

import pytest
import torch
from huggingface_hub import constants
from tiny_vlm import save_tiny_florence, save_tiny_qwen

from tests.fakes import PlainPrompter
from worldgen.config import choice, instantiate
from worldgen.embedded.recognised_prompts import RecognisingPrompter
from worldgen.errors import UserError
from worldgen.models.caption import Captioner, CaptionPrompter
from worldgen.models.conformance import check_prompter, picture
from worldgen.models.runtime import Runtime
from worldgen.models.vision_language import wait_by_layers
from worldgen.models.vlm import VlmPrompter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_florence(tmp_path_factory.mktemp("hub") / "florence")


def prompter(folder, **settings) -> CaptionPrompter:
    settings = {"longest_px": 64, "most_tokens": 24} | settings
    return CaptionPrompter(Captioner("owner/name", path=str(folder), **settings), PlainPrompter())


def caption(folder, rgb, **settings) -> str:
    made = prompter(folder, **settings)
    made.load(Runtime())
    return made(rgb).atmosphere


def test_it_keeps_its_contract(folder):
    check_prompter(prompter(folder))


def test_one_caption_serves_all_directions(folder):
    made = prompter(folder)
    made.load(Runtime())
    prompts = made(picture())
    assert prompts.atmosphere == prompts.sky == prompts.ground
    assert prompts.indoor == PlainPrompter()(picture()).indoor
    assert prompts.source == "caption by owner/name"
    assert prompts.negative == ""
    made.release()
    assert made.captioner._network is None


def test_the_picture_and_the_task_decide(folder):
    first = caption(folder, picture())
    assert caption(folder, 1 - picture(3)) != first
    assert caption(folder, picture(), task="more_detailed") != first
    torch.manual_seed(1)
    assert caption(folder, picture()) == first


def test_layers_that_wait_for_their_turn_say_the_same(folder):
    made = prompter(folder)
    made.load(Runtime())
    first = made(picture()).atmosphere
    wait_by_layers(made.captioner._network, torch.device("cpu"))
    assert made(picture()).atmosphere == first


def test_a_network_that_says_nothing_is_told(folder, monkeypatch):
    monkeypatch.setattr(Captioner, "answer", lambda *_: " \n.")
    with pytest.raises(UserError, match=r'prompts.captioner: owner/name answers ".", wanted a caption'):
        caption(folder, picture())


def test_tasks_are_checked():
    with pytest.raises(UserError, match=r"prompts.captioner.task: <OD>, wanted one of short, detailed, more_detailed"):
        Captioner("owner/name", task="<OD>")


def test_networks_are_not_taken_for_each_other(folder, tmp_path):
    with pytest.raises(UserError, match="owner/name is a qwen3_vl, wanted a Florence-2"):
        caption(save_tiny_qwen(tmp_path / "qwen"), picture())
    made = VlmPrompter("owner/name", path=str(folder))
    made.load(Runtime())
    with pytest.raises(UserError, match="wanted a model that chats"):
        made(picture())


def test_the_config_makes_one(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    made = instantiate(choice("prompts", "caption"))
    with pytest.raises(UserError, match=r"prompts.captioner.download=true fetches it \(about 2 GB\)"):
        made.load(Runtime())
    assert made.captioner.model == "florence-community/Florence-2-large"
    assert isinstance(made.indoor_by, RecognisingPrompter)
