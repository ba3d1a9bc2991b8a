"""Step 2, prompts: what is all round, above and below (paper, "Prompts"), in a file that may be written by hand."""

import json
from dataclasses import asdict, fields
from pathlib import Path

from worldgen.errors import UserError
from worldgen.types import Prompts

_KEYS = ", ".join(field.name for field in fields(Prompts))


def save_prompts(path: Path, prompts: Prompts) -> None:
    """Writes `prompts.json` so that a person can edit it."""
    path.write_text(json.dumps(asdict(prompts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_prompts(path: Path) -> Prompts:
    """Reads `prompts.json`; the key `source` may be left out. UserError names the file and what is wrong in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, wanted a readable prompts.json") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), wanted an object with the keys {_KEYS}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, wanted an object with the keys {_KEYS}")
    content = {"source": "written by hand", **content}
    for field in fields(Prompts):
        wanted = "true or false" if field.type in (bool, "bool") else "text"
        if field.name not in content:
            raise UserError(f"{path}: no key '{field.name}', wanted {wanted}")
        if not isinstance(content[field.name], bool if wanted == "true or false" else str):
            raise UserError(f"{path}: {field.name} is {content[field.name]!r}, wanted {wanted}")
    unknown = sorted(set(content) - {field.name for field in fields(Prompts)})
    if unknown:
        raise UserError(f"{path}: unknown key '{unknown[0]}', wanted {_KEYS}")
    return Prompts(**content)
