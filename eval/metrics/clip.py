"""How well a picture keeps to its photo (CLIP-I) or its text (CLIP-T): torchmetrics' CLIPScore, one value a picture.

The score is 100 times the cosine of CLIP's two embeddings, never below 0. The paper names no backbone; ViT-B/32 is
among the smallest and the most used, and values differ by tens of points between backbones: tables name theirs.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.metrics.base import Better, Companion, Needs
from eval.metrics.networks import EXTRA, OnDevice, eight_bits
from worldgen.errors import UserError, expect
from worldgen.models.hub import HubWeights, load_whole, missing_package, package_versions
from worldgen.models.loading import quiet_transformers

_DTYPES = ("float32", "float16", "bfloat16")
_DOWNLOAD = {
    "openai/clip-vit-base-patch32": "0.6 GB",
    "openai/clip-vit-base-patch16": "0.6 GB",
    "openai/clip-vit-large-patch14": "1.7 GB",
    "openai/clip-vit-large-patch14-336": "1.7 GB",
}


class _ClipScore(OnDevice, ABC):
    """What both share.

    model: a CLIP repository of the model hub. path: a folder on this machine in the hub's layout, instead. download:
    whether a model that is not here may be fetched. dtype: of the network; the cosine is always float32. batch:
    pictures at once.
    """

    name: str
    needs: Needs
    better: Better = "higher"
    across_processes = False

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch32",
        path: str | None = None,
        download: bool = False,
        dtype: str = "float32",
        batch: int = 16,
    ) -> None:
        key = f"metric.{self.name}"
        expect(f"{key}.batch", batch, batch >= 1, "1 or more")
        expect(f"{key}.dtype", dtype, dtype in _DTYPES, f"one of {', '.join(_DTYPES)}")
        self.dtype = dtype
        self.batch = batch
        self.weights = HubWeights(model, _DOWNLOAD.get(model, ""), key, path, download)

    def unavailable(self) -> str | None:
        return missing_package("torchmetrics", "transformers", extra=EXTRA) or self.weights.unavailable()

    def versions(self) -> dict[str, str]:
        packages = package_versions("torchmetrics", "transformers")
        return packages | self.weights.versions() | {"dtype": self.dtype}

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """Pictures and photos may have any sizes: CLIP's own processor scales them and takes the middle square."""
        # The public `clip_score` and `CLIPScore` give a batch's mean alone; this is the function below both.
        from torchmetrics.functional.multimodal.clip_score import _clip_score_update

        score_each: Any = _clip_score_update
        model, processor = _load(self.weights.folder(), self.dtype, self.device)
        values: list[float] = []
        for start in range(0, len(pictures), self.batch):
            batch = slice(start, start + self.batch)
            ours = [eight_bits(picture).to(self.device) for picture in pictures[batch]]
            theirs = [self._companion(companion) for companion in companions[batch]]
            scores, _ = score_each(ours, theirs, model, processor)
            values += scores.clamp(0, 100).tolist()
        return values

    @abstractmethod
    def _companion(self, companion: Companion) -> Tensor | str:
        """What torchmetrics compares a picture with. Raises UserError where it cannot be used."""


class ClipImage(_ClipScore):
    """CLIP-I: against the photo that the world was made from."""

    name, needs = "clip_i", "photo"

    def _companion(self, companion: Companion) -> Tensor:
        assert isinstance(companion, Tensor), "clip_i needs the photo"
        return eight_bits(companion).to(self.device)


class ClipText(_ClipScore):
    """CLIP-T: against the text that the picture was made by. CLIP reads its first 77 tokens."""

    name, needs = "clip_t", "text"

    def _companion(self, companion: Companion) -> str:
        assert isinstance(companion, str), "clip_t needs a text"
        return companion


class _Model:
    """A CLIPModel that answers with the embeddings themselves, in float32, whichever transformers it is from."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.config = model.config

    def to(self, device: torch.device) -> "_Model":
        self._model.to(device)
        return self

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return _pooled(self._model.get_image_features(pixel_values=pixel_values.to(self._model.dtype)))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return _pooled(self._model.get_text_features(input_ids=input_ids, attention_mask=attention_mask))


def _pooled(answer: Any) -> Tensor:
    """transformers 4 answers with the projected embedding [N, D], transformers 5 with an object that holds it."""
    return (answer if isinstance(answer, Tensor) else answer.pooler_output).float()


class _Processor:
    """CLIP's processor that shortens long texts itself: torchmetrics would cut off the token that ends a text, from
    which CLIP reads the embedding."""

    def __init__(self, images: Any, tokenizer: Any, longest: int) -> None:
        self._images, self._tokenizer, self._longest = images, tokenizer, longest

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
        if images is not None:
            return self._images(images, return_tensors="pt")
        return self._tokenizer(text, truncation=True, max_length=self._longest, padding=True, return_tensors="pt")


@lru_cache(maxsize=1)
def _load(folder: Path, dtype: str, device: torch.device) -> tuple[_Model, _Processor]:
    """One network for CLIP-I and CLIP-T alike. Raises UserError where the folder holds no CLIP."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    try:
        with quiet_transformers():
            model = load_whole(CLIPModel, folder).to(device, getattr(torch, dtype)).eval()
            images = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except UserError:
        raise
    except Exception as error:  # safetensors, json, OSError: a damaged folder shows itself in many ways
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: cannot be read as a CLIP model ({reason}), wanted the hub's layout") from error
    return _Model(model), _Processor(images, tokenizer, model.config.text_config.max_position_embeddings)
