"""The one exception that a person causes and a person can mend, and what becomes of it in a sweep."""

from dataclasses import fields
from typing import Any


class UserError(ValueError):
    """Bad input. Its message is one line: the file or key, what was found, what is wanted.

    The command line prints the message alone and exits with status 2.
    """


class RunFailedError(Exception):
    """One run of a sweep failed, and where it ran has said why."""


def expect(key: str, value: object, ok: bool, wanted: str) -> None:
    """Raises UserError, in the words that every program of ours uses, unless `ok`. key: with its group: splat.steps."""
    if not ok:
        raise UserError(f"{key}: {'nothing' if value == '' else value}, wanted {wanted}")


def first_line(error: BaseException) -> str:
    """What a library's exception says, on one line; the exception's name where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def expect_whole_numbers(prefix: str, settings: Any) -> None:
    """Raises UserError where a field of a dataclass that is declared as int holds anything else: 1e3, say."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type in (int, "int"):
            wanted = f"a whole number, such as {field.default}"
            expect(f"{prefix}.{field.name}".lstrip("."), value, is_whole(value), wanted)
