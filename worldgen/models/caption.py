"""Prompts by a caption alone (paper, "Prompts": a baseline), which puts its subject into every direction."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.loading import quiet_transformers
from worldgen.models.protocols import Composite, Lifetime, Prompter
from worldgen.models.runtime import Runtime
from worldgen.models.scene_answers import one_line
from worldgen.models.vision_language import VisionLanguage, as_image
from worldgen.types import Prompts

_TASKS = {"short": "<CAPTION>", "detailed": "<DETAILED_CAPTION>", "more_detailed": "<MORE_DETAILED_CAPTION>"}


@dataclass
class Captioner(VisionLanguage):
    """Florence-2, which answers to tasks; its other settings: see VisionLanguage.

    task: short, detailed or more_detailed. The paper does not say; a paragraph is more than CLIP's 77 words hold.
    """

    task: str = "detailed"

    key: str = field(default="prompts.captioner", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("prompts.captioner.task", self.task, self.task in _TASKS, f"one of {', '.join(_TASKS)}")

    def load(self, runtime: Runtime) -> None:
        """As VisionLanguage. Raises UserError for another kind of network, too, which knows no tasks."""
        super().load(runtime)
        kind = self._network.config.model_type
        if kind != "florence2":
            self.release()
            raise UserError(f"prompts.captioner.model: {self.model} is a {kind}, wanted a Florence-2")

    def __call__(self, rgb: Tensor) -> str:
        """rgb [3, H, W] -> its caption, on one line. Raises UserError for a network that says nothing."""
        image = as_image(rgb, self.longest_px)
        with quiet_transformers():
            inputs = self.processor(images=image, text=_TASKS[self.task], return_tensors="pt")
        caption = one_line(self.answer(inputs))
        expect("prompts.captioner", f'{self.model} answers "{caption}"', any(map(str.isalpha, caption)), "a caption")
        return caption


@dataclass
class CaptionPrompter(Composite, Prompter):
    """Fulfils Prompter: the caption is all three prompts.

    indoor_by: what tells indoors from outdoors, which a caption does not.
    """

    captioner: Captioner
    indoor_by: Prompter

    def parts(self) -> Sequence[Lifetime]:
        """See Composite."""
        return (self.captioner, self.indoor_by)

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] in [0, 1]."""
        caption, indoor = self.captioner(rgb), self.indoor_by(rgb).indoor
        return Prompts(caption, caption, caption, indoor, source=f"caption by {self.captioner.model}")
