"""An inpainter whose pictures are kept as they are made, so that a killed step goes on where it was."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldgen.models.protocols import Composite, Inpainter, Lifetime
from worldgen.runs.artifacts import load_image, save_image
from worldgen.runs.disk import landing


class RecordedInpainter(Composite):
    """Fulfils Inpainter: every picture lands in `folder` as NNN.png, in the order of the calls, and is made once.

    It knows pictures by their place in that order alone: whoever calls it again has to call it with the same. An
    inpainter's values are multiples of 1/255, so a picture from the disk is the picture that was made.
    """

    def __init__(self, inpainter: Inpainter, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.inpainter, self.folder = inpainter, folder
        self._asked = 0

    def parts(self) -> Sequence[Lifetime]:
        """The inpainter that paints what is not there yet."""
        return (self.inpainter,)

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """As the inpainter's; a batch of which some pictures are missing is painted as a whole."""
        paths = [self.folder / f"{self._asked + index:03}.png" for index in range(len(rgb))]
        self._asked += len(rgb)
        if not all(path.exists() for path in paths):
            for path, painted in zip(paths, self.inpainter(rgb, known, prompts, seeds), strict=True):
                with landing(path) as unfinished:
                    save_image(unfinished, painted)
        return torch.stack([load_image(path) for path in paths]).to(rgb.device)
