"""One grammar for what a person can mend: `key or file: what was found, wanted ...`."""

import ast
import re
from pathlib import Path

import pytest

from worldgen.errors import UserError, expect, first_line

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("worldgen", "train", "eval") for path in (ROOT / package).rglob("*.py"))
OLD_GRAMMAR = re.compile(r"=\S*: wanted|: wanted:? ")
"""`key=value: wanted ...` puts the value on the wrong side, and a shell's word before what is wanted."""


def test_a_value_that_will_not_do_is_told_with_its_key():
    expect("splat.steps", 3, True, "0 or more")
    with pytest.raises(UserError, match=r"^splat\.steps: -3, wanted 0 or more$"):
        expect("splat.steps", -3, False, "0 or more")


@pytest.mark.parametrize(("said", "line"), [("a\nb", "a"), ("\n  a \n", "a"), ("", "OSError"), (" \n", "OSError")])
def test_of_what_a_library_says_the_first_line_counts(said, line):
    assert first_line(OSError(said)) == line


@pytest.mark.parametrize("message", ["a=3: wanted more", "a={}: wanted {}", "{}={}: wanted {}", "a: wanted: b"])
def test_the_old_grammar_is_found(message):
    assert OLD_GRAMMAR.search(message)


def test_the_grammar_in_use_is_let_through():
    assert not OLD_GRAMMAR.search("out: {}, wanted a folder; out=<folder> names another")


def test_messages_keep_to_one_grammar():
    found = {path.relative_to(ROOT).as_posix(): messages(path) for path in SOURCES}
    old = {path: [text for text in texts if OLD_GRAMMAR.search(text)] for path, texts in found.items()}
    assert sum(map(len, found.values())) > 100
    assert {path: texts for path, texts in old.items() if texts} == {}


def messages(path: Path) -> list[str]:
    """What a file's UserErrors say, with {} for what is filled in."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [_text(call.args[0]) for call in calls if getattr(call.func, "id", "") == "UserError" and call.args]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) else "{}"
