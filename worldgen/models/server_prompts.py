"""Prompts by a model on a server that speaks OpenAI's protocol: vLLM, SGLang, Ollama, llama.cpp, or a paid one."""

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.chat_server import ChatServer
from worldgen.models.protocols import Adapter, Prompter
from worldgen.models.scene_answers import Turn, describe
from worldgen.models.vision_language import as_image, check_longest, check_tokens, turns_as_messages
from worldgen.types import Prompts

_JPEG_QUALITY = 92


@dataclass
class ServerPrompter(Adapter, Prompter):
    """Fulfils Prompter over the network.

    url: up to and with the version. model: as the server calls it. key_variable: the environment variable that holds
    the key, if the server wants one: a key itself would be written into the run's records. timeout_s: of one answer.
    retries: of a server that is busy or ill. longest_px: of the longer side of the picture that is sent. most_tokens:
    of one answer. options: more of the request, by name; null takes one of ours away. coarse, style: see VlmPrompter.
    """

    url: str
    model: str
    key_variable: str = "WORLDGEN_SERVER_KEY"
    timeout_s: float = 120.0
    retries: int = 4
    longest_px: int = 1024
    most_tokens: int = 512
    options: Mapping[str, Any] | None = None
    coarse: bool = False
    style: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_]\w*", str(self.key_variable), re.ASCII):  # perhaps the key itself: not repeated
            raise UserError("prompts.key_variable: no such name, wanted that of an environment variable")
        _check_url(str(self.url))
        expect("prompts.model", self.model, bool(self.model), "a model's name")
        expect("prompts.timeout_s", self.timeout_s, self.timeout_s > 0, "more than 0")
        whole = isinstance(self.retries, int) and not isinstance(self.retries, bool)
        expect("prompts.retries", self.retries, whole and self.retries >= 0, "a whole number from 0")
        check_longest(self.longest_px)
        check_tokens(self.most_tokens)

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] in [0, 1]. Raises UserError where no server answers, or nonsense twice."""
        image = as_image(rgb, self.longest_px)
        server = ChatServer(self.url, self._secret(), self.key_variable, self.timeout_s, self.retries)
        source = f"{self.model} at {urlsplit(self.url).hostname}"
        return describe(lambda turns: server.complete(self._request(image, turns)), source, self.coarse, self.style)

    def _secret(self) -> str:
        """The key, "" where there is none."""
        secret = os.environ.get(self.key_variable, "").strip()
        if not (secret.isascii() and secret.isprintable()):
            raise UserError(f"{self.key_variable}: holds other characters than a header may, wanted a key")
        return secret

    def _request(self, image: Image.Image, turns: Sequence[Turn]) -> dict[str, Any]:
        """The likeliest words, as far as a server can be told."""
        messages = turns_as_messages(turns, {"type": "image_url", "image_url": {"url": _data_url(image)}})
        for message in messages[1:]:
            message["content"] = message["content"][0]["text"]  # what all servers take, where there is no picture
        request = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.most_tokens}
        return {name: value for name, value in (request | dict(self.options or {})).items() if value is not None}


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # which is read only now
    except ValueError as error:
        raise UserError(f"prompts.url: {error}, wanted an address as http://localhost:8000/v1") from error
    if parts.username or parts.password:  # not repeated
        raise UserError("prompts.url: holds a password, wanted an address without, and the key in prompts.key_variable")
    fits = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and " " not in url
    expect("prompts.url", url, fits and not parts.query, "an address as http://localhost:8000/v1")


def _data_url(image: Image.Image) -> str:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
