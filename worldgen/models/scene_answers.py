"""Answers of vision-language models about a photo: found, checked, asked for once more, and made into prompts.

A model may wrap its JSON in Markdown, in prose or in thoughts. What is in it is checked as a person's input would be.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from worldgen.errors import UserError
from worldgen.models.scene_questions import MOST_WORDS, correction, keys, question
from worldgen.types import Prompts

Turn = tuple[str, str]
"""Who says it ("user" or "assistant"), and what; the photo goes with the first one."""

Say = Callable[[Sequence[Turn]], str]
"""What the model answers to a conversation."""

_MOST_CHARACTERS = 400  # what MOST_WORDS words may need, and more
_READ_CHARACTERS = 20_000  # of an answer; a model that goes on for ever says nothing new behind
_SHOWN_CHARACTERS = 80  # of an answer, in an error
_DEEPEST = 50  # of brackets in brackets; an answer has one or two
_MAY_BE_EMPTY = ("negative",)
_TRUTH = {"true": True, "false": False}  # as text, which some models make of it


class _Malformed(Exception):
    """What is wrong with an answer, in words that the model and a person understand."""


def describe(say: Say, source: str, coarse: bool = False, style: bool = False) -> Prompts:
    """Asks about the photo, once more where the answer cannot be used, and makes prompts of it.

    source: who is asked. coarse: one description for all directions (the paper's baseline). style: the medium is asked
    for, too, and added to all three prompts. Raises UserError where the second answer cannot be used either.
    """
    turns: list[Turn] = [("user", question(coarse, style))]
    answer = say(turns)
    try:
        found = read(answer, keys(coarse, style))
    except _Malformed as wrong:
        turns += [("assistant", answer[:_READ_CHARACTERS]), ("user", correction(str(wrong), coarse, style))]
        answer = say(turns)
        try:
            found = read(answer, keys(coarse, style))
        except _Malformed as still:
            raise UserError(
                f"prompts: {source} was asked twice and answers {_beginning(answer)}: {still}; "
                "wanted another prompts.model, or prompts=recognised"
            ) from None
    return _prompts(found, source)


def read(answer: str, wanted: Sequence[str]) -> dict[str, Any]:
    """The values of the wanted keys in an answer: `indoor` bool, all others text on one line."""
    found = _best(answer[:_READ_CHARACTERS], wanted)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise _Malformed(f"no key {missing[0]}")
    return {key: _truth(key, found[key]) if key == "indoor" else _text(key, found[key]) for key in wanted}


def _best(answer: str, wanted: Sequence[str]) -> Mapping[str, Any]:
    """The JSON object that has most of the keys, the last one of several: models think aloud first."""
    objects = list(_objects(re.sub(r"<think>.*?</think>", "", answer, flags=re.DOTALL)))
    if not objects:
        raise _Malformed("no whole JSON object in it" if "{" in answer else "no JSON object in it")
    return max(reversed(objects), key=lambda one: sum(key in one for key in wanted))


def too_deep(text: str) -> bool:
    """Whether JSON is nested so deeply that reading it may end the process: where a library has raised Python's limit
    of recursion, the reader runs out of stack."""
    depth = 0
    for character in text:
        depth += (character in "{[") - (character in "}]")
        if depth > _DEEPEST:
            return True
    return False


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    if too_deep(text):
        return
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield found
        start = text.find("{", end)


def _truth(key: str, value: Any) -> bool:
    value = _TRUTH.get(value.strip().lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise _Malformed(f"{key} is {_beginning(value)}, wanted true or false")
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _Malformed(f"{key} is {_beginning(value)}, wanted text")
    text = one_line(value).rstrip(" .,;")
    if not any(character.isalpha() for character in text):
        if key in _MAY_BE_EMPTY:
            return ""
        raise _Malformed(f"{key} says nothing")
    if len(text) > _MOST_CHARACTERS:
        raise _Malformed(f"{key} has {len(text)} characters, wanted at most {MOST_WORDS} words")
    return text


def one_line(text: str) -> str:
    """The text without line breaks, and without characters that no file or terminal takes."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _prompts(found: Mapping[str, Any], source: str) -> Prompts:
    medium = found.get("medium")
    words = {
        name: found.get(name, found["atmosphere"]) + (f", {medium}" if medium else "")
        for name in ("atmosphere", "sky", "ground")
    }
    return Prompts(**words, indoor=found["indoor"], source=source, negative=found["negative"])


def _beginning(value: Any) -> str:
    """For an error, on one line."""
    text = one_line(value if isinstance(value, str) else json.dumps(value))
    return f'"{text[:_SHOWN_CHARACTERS]}{"..." if len(text) > _SHOWN_CHARACTERS else ""}"'
