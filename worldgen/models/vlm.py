"""Prompts by a vision-language model of the hub: Qwen3-VL, Llama 3.2 Vision (the paper's), and others that chat."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from worldgen.errors import UserError, first_line
from worldgen.models.loading import quiet_transformers
from worldgen.models.protocols import Prompter
from worldgen.models.scene_answers import Turn, describe
from worldgen.models.vision_language import VisionLanguage, as_image, turns_as_messages
from worldgen.types import Prompts


@dataclass
class VlmPrompter(VisionLanguage, Prompter):
    """Fulfils Prompter; its other settings: see VisionLanguage.

    coarse: one description for all directions instead of three (the paper's baseline). style: the medium ("oil
    painting, visible brush strokes") is asked for, too, and added to all three prompts.
    """

    coarse: bool = False
    style: bool = False

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] in [0, 1]. Raises UserError where the network answers nonsense twice."""
        image = as_image(rgb, self.longest_px)
        return describe(lambda turns: self._say(image, turns), self.model, self.coarse, self.style)

    def _say(self, image: Image.Image, turns: Sequence[Turn]) -> str:
        """The most likely word, again and again: the same for the same picture."""
        messages = turns_as_messages(turns, {"type": "image", "image": image})
        try:
            with quiet_transformers():
                inputs = self.processor.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
                )
        except ValueError as error:  # of a base model, which has no template for conversations
            reason = first_line(error)[:160]
            raise UserError(f"prompts.model: {self.model}: {reason}; wanted a model that chats") from error
        return self.answer(inputs, num_beams=1)
