"""The project's own source, read without importing it: who imports whom, and what is public."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("worldgen", "train", "eval")


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its full name; a package goes by its folder's."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_name(path): path for path in files}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


@cache
def imports(name: str) -> frozenset[str]:
    """What a module imports, wherever in it that is written, for types alone too: modules of ours by their full name,
    libraries by their first."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(full if full in modules() else node.module for full in inside)
    return frozenset(full if full.split(".")[0] in PACKAGES else full.split(".")[0] for full in found)


def is_in(name: str, place: str) -> bool:
    """Whether a module is a package or lies in it."""
    return name == place or name.startswith(f"{place}.")


def ours(name: str) -> set[str]:
    """The modules of ours that a module imports."""
    return {target for target in imports(name) if target.split(".")[0] in PACKAGES} - {name}


@dataclass(frozen=True)
class Public:
    """A function or class that others may use."""

    place: str  # module:line name
    docstring: str
    arrays: bool  # takes or gives back tensors or arrays


def public(name: str, inherited: frozenset[str] = frozenset()) -> Iterator[Public]:
    """Public functions and classes of a module, and the methods of such classes but those whose name is in `inherited`:
    what these do is said once, where they come from."""
    yield from _public(name, tree(name).body, "", inherited)


def _public(name: str, body: list[ast.stmt], owner: str, inherited: frozenset[str]) -> Iterator[Public]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_") or node.name in inherited:
            continue
        place = f"{name}:{node.lineno} {owner}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield Public(place, ast.get_docstring(node) or "", arrays=False)
            yield from _public(name, node.body, f"{node.name}.", inherited)
        else:
            yield Public(place, ast.get_docstring(node) or "", _handles_arrays(node))


def _handles_arrays(function: ast.FunctionDef) -> bool:
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotations = [each.annotation for each in parameters] + [function.returns]
    names = {
        part.id if isinstance(part, ast.Name) else part.attr
        for annotation in annotations
        if annotation is not None
        for part in ast.walk(annotation)
        if isinstance(part, ast.Name | ast.Attribute)
    }
    return bool(names & {"Tensor", "ndarray", "NDArray"})
