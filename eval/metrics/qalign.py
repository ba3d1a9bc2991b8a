"""Q-Align (Wu et al. 2023) and its maintained successor Q-ReAlign: a language model's rating of a picture.

Asked to rate a picture, the model says which of five words comes next; the score is the mean of the words' levels by
their probabilities. Q-Align rates from 1 (bad) to 5 (excellent), the paper's scale; Q-ReAlign from 0 to 1. On a flat
equirectangular picture Q-Align comes out 0.25 to 0.95 higher than on perspective views of it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from eval.metrics.base import Better, Companion, Needs
from eval.metrics.networks import EXTRA, OnDevice, eight_bits
from worldgen.errors import UserError, expect
from worldgen.models.hub import (
    HubWeights,
    load_whole,
    load_whole_into,
    missing_package,
    package_versions,
)
from worldgen.models.loading import quiet_transformers

_QALIGN = "q-future/one-align"
_QREALIGN = {"mini": "q-future/Q-ReAlign-Mini-0.8B", "lite": "q-future/Q-ReAlign-Lite-4B"}
_QREALIGN |= {"pro": "q-future/Q-ReAlign-Pro-9B"}
_DOWNLOAD = {"mini": "about 2 GB", "lite": "about 9 GB", "pro": "about 19 GB"}
_DTYPES = {
    "qalign": ("float16", "bfloat16", "float32"),  # the first is what it was published in
    "qrealign": ("auto", "bfloat16", "float16", "float32"),  # auto = as the weights are stored
}
_TASKS = ("quality", "aesthetic")
_VERSION = "1"  # raised when a value changes
_WORDS = ("excellent", "good", "fair", "poor", "bad")


class QAlign(OnDevice):
    """One task of one of the two models.

    task: quality or aesthetic. model: qalign or qrealign. size: of Q-ReAlign: mini, lite or pro. path: a folder on this
    machine in the hub's layout, instead of the hub's cache. download: whether what is missing may be fetched.
    dtype: see _DTYPES; None = the first one.
    """

    better: Better = "higher"
    needs: Needs = "nothing"
    across_processes = False

    def __init__(
        self,
        task: str = "quality",
        model: str = "qalign",
        size: str = "mini",
        path: str | None = None,
        download: bool = False,
        dtype: str | None = None,
    ) -> None:
        expect("task", task, task in _TASKS, f"one of {', '.join(_TASKS)}")
        expect("model", model, model in _DTYPES, f"one of {', '.join(_DTYPES)}")
        self.task, self.model, self.name = task, model, f"{model}_{task}"
        key, dtypes = f"metric.{self.name}", _DTYPES[model]
        self.dtype = dtype or dtypes[0]
        expect(f"{key}.dtype", self.dtype, self.dtype in dtypes, f"one of {', '.join(dtypes)}")
        expect(f"{key}.size", size, size in _QREALIGN, f"one of {', '.join(_QREALIGN)}")
        repo, gigabytes = (_QALIGN, "about 16 GB") if model == "qalign" else (_QREALIGN[size], _DOWNLOAD[size])
        self.weights = HubWeights(repo, gigabytes, key, path, download)

    def unavailable(self) -> str | None:
        """Why it cannot be computed here, in one line; None where it can."""
        return missing_package("transformers", "sentencepiece", extra=EXTRA) or self.weights.unavailable()

    def versions(self) -> dict[str, str]:
        """What decides its values."""
        return (
            {"worldgen": _VERSION} | package_versions("transformers") | self.weights.versions() | {"dtype": self.dtype}
        )

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """One score for each picture [3, H, W] in [0, 1], of any size. Raises UserError where there is no network."""
        del companions
        rater = _load(self.model, self.weights.folder(), self.dtype, self.device)
        with quiet_transformers():
            return [rater.score(_as_image(picture), self.task) for picture in pictures]


class Rater(ABC):
    """One of the two networks, loaded. levels: the scores of the five words."""

    levels: tuple[float, ...]
    word_ids: list[int]

    def score(self, image: Image.Image, task: str) -> float:
        """The mean level by the words' probabilities."""
        logits = self.next_word(image, task)[self.word_ids].float()
        return float(logits.softmax(-1) @ logits.new_tensor(self.levels))

    @abstractmethod
    def next_word(self, image: Image.Image, task: str) -> Tensor:
        """Logits of what follows the beginning of the answer, [vocabulary]."""


class QAlignRater(Rater):
    """Q-Align: what its authors' code asks, in the order in which it was trained."""

    levels = (5.0, 4.0, 3.0, 2.0, 1.0)

    def __init__(self, folder: Path, dtype: str, device: torch.device) -> None:
        from transformers import CLIPImageProcessor, LlamaTokenizer

        from eval.metrics.mplug_owl2 import MplugOwl2

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):
            network = MplugOwl2(config)
        self.network = load_whole_into(network, folder).to(device, getattr(torch, dtype)).eval()
        self.images = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        # It was trained on prompts that open with this token. transformers 4 always puts it there, transformers 5 only
        # where the folder's tokenizer_config.json asks for it.
        self.tokenizer = LlamaTokenizer.from_pretrained(folder, add_bos_token=True, local_files_only=True)
        self.word_ids = [self.tokenizer(word).input_ids[-1] for word in _WORDS]
        self._like = self.network.lm_head.weight

    def next_word(self, image: Image.Image, task: str) -> Tensor:
        before = self.tokenizer(f"USER: How would you rate the {task} of this image?\n").input_ids
        after = self.tokenizer(f"\nASSISTANT: The {task} of the image is").input_ids[1:]
        ids = (torch.tensor(part, device=self._like.device) for part in (before, after))
        pixels = self.images.preprocess(self._squared(image), return_tensors="pt")["pixel_values"]
        return self.network(pixels.to(self._like), *ids)

    def _squared(self, image: Image.Image) -> Image.Image:
        """The picture in the middle of a square of the processor's mean colour."""
        side = max(image.size)
        mean = tuple(int(value * 255) for value in self.images.image_mean)
        square = Image.new("RGB", (side, side), mean)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square


class QReAlignRater(Rater):
    """Q-ReAlign: the same question in a chat with a Qwen3.5."""

    levels = (1.0, 0.75, 0.5, 0.25, 0.0)

    def __init__(self, folder: Path, dtype: str, device: torch.device) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.network: nn.Module = load_whole(AutoModelForImageTextToText, folder, dtype=dtype).to(device).eval()
        tokenizer = self.processor.tokenizer
        self.word_ids = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in _WORDS]

    def next_word(self, image: Image.Image, task: str) -> Tensor:
        nouns = {"quality": "quality", "aesthetic": "aesthetics"}
        asked = {"type": "text", "text": f"Can you rate the {nouns[task]} of this picture?"}
        chat = [{"role": "user", "content": [{"type": "image"}, asked]}]
        text = self.processor.apply_chat_template(chat, add_generation_prompt=True)
        text += f"The {nouns[task]} of the image is"
        inputs = self.processor(text=[text], images=[image], return_tensors="pt").to(self.network.device)
        return self.network(**inputs).logits[0, -1]


@lru_cache(maxsize=1)
def _load(model: str, folder: Path, dtype: str, device: torch.device) -> Rater:
    """One network for both tasks. Raises UserError where the folder does not hold it."""
    kind = QAlignRater if model == "qalign" else QReAlignRater
    try:
        with quiet_transformers():
            return kind(folder, dtype, device)
    except UserError:
        raise
    except Exception as error:  # safetensors, json, OSError: a damaged folder shows itself in many ways
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: cannot be read as {model} ({reason}), wanted the hub's layout") from error


def _as_image(picture: Tensor) -> Image.Image:
    """As from a PNG."""
    return Image.fromarray(eight_bits(picture).permute(1, 2, 0).contiguous().numpy())
