"""Networks whose pictures are kept as they are made, so that a killed step goes on where it was."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldgen.models.protocols import Composite, ImageToImage, Inpainter, Inpainting, Lifetime
from worldgen.runs.artifacts import load_image, save_image
from worldgen.runs.disk import landing
from worldgen.types import Prompt


class _Recorded(Composite):
    """Every picture lands in `folder` as NNN.png, in the order of the calls, and is made once.

    Pictures are known by their place in that order alone: whoever asks again has to ask for the same. The networks'
    values are multiples of 1/255, so a picture from the disk is the picture that was made.
    """

    def __init__(self, network: Lifetime, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._network, self._folder, self._asked = network, folder, 0

    def parts(self) -> Sequence[Lifetime]:
        """The network that makes what is not there yet."""
        return (self._network,)

    def _kept(self, rgb: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """The next pictures, as many as in rgb [B, 3, H, W]; where some are missing, the whole batch is made."""
        paths = [self._folder / f"{self._asked + index:03}.png" for index in range(len(rgb))]
        self._asked += len(rgb)
        if not all(path.exists() for path in paths):
            for path, made in zip(paths, make(), strict=True):
                with landing(path) as unfinished:
                    save_image(unfinished, made)
        return torch.stack([load_image(path) for path in paths]).to(rgb.device)


class RecordedInpainter(_Recorded):
    """Fulfils Inpainter with another one and the pictures in `folder`."""

    def __init__(self, inpainter: Inpainter, folder: Path) -> None:
        super().__init__(inpainter, folder)
        self._inpainter = inpainter

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """As the inpainter's."""
        return self._kept(rgb, lambda: self._inpainter(rgb, known, prompts, seeds))

    @property
    def around(self) -> Inpainting | None:
        """As the inpainter's, where it has one."""
        around = getattr(self._inpainter, "around", None)
        if around is None:
            return None
        return lambda rgb, known, prompts, seeds: self._kept(rgb, lambda: around(rgb, known, prompts, seeds))


class RecordedImageToImage(_Recorded):
    """Fulfils ImageToImage with another one and the pictures in `folder`."""

    def __init__(self, model: ImageToImage, folder: Path) -> None:
        super().__init__(model, folder)
        self._model = model

    def __call__(self, rgb: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int], strength: float) -> Tensor:
        """As the model's."""
        return self._kept(rgb, lambda: self._model(rgb, prompts, seeds, strength))
