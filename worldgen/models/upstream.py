"""Code of others that no plain install brings: where it comes from, and one line where it is not here.

Some authors publish a package whose metadata asks for more than their network needs, some a repository alone: a
checkout of that is named in the config.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.loading import one_line
from worldgen.paths import user_path


def upstream(module: str, install: str) -> Any:
    """The module of that name. install: the command that brings it. Raises UserError where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = (getattr(error, "name", None) or package).partition(".")[0]
        lacks = f"{package} is not installed" if missing == package else f"{package} lacks {missing}"
        raise UserError(f"{lacks}; {install} brings it") from error


def lacking(module: str, install: str) -> str | None:
    """Why that module cannot be imported, in one line; None where it is there. Imports nothing."""
    package = module.partition(".")[0]
    return None if find_spec(package) else f"{package} is not installed; {install} brings it"


@contextmanager
def checkout(folder: str | None, key: str, clone: str, holds: str) -> Iterator[Path]:
    """A repository of others whose modules can be imported within, and are forgotten afterwards: their names (networks,
    datasets, utils) are anybody's.

    key: of the config that names the folder. clone: the command that brings it. holds: a path in it, by which it is
    known. Raises UserError where it is not there, or where a library that it imports is missing.
    """
    wanted = f"a folder with {holds}; {clone} makes one"
    expect(key, "null", folder is not None, wanted)
    root = user_path(str(folder)).resolve()
    expect(key, str(folder), (root / holds).exists(), wanted)
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield root
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        raise UserError(
            f"{key}: {folder}: lacks {missing}; pip install {missing.partition('.')[0]} brings it"
        ) from error
    finally:
        sys.path.remove(str(root))
        for name in [name for name in set(sys.modules) - before if _lies_in(sys.modules[name], root)]:
            del sys.modules[name]


def _lies_in(module: Any, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", []))
    return any(Path(place).is_relative_to(root) for place in places)


def load_state(network: Any, state: Mapping[str, Tensor], what: str) -> None:
    """Puts all weights of a network, tensors [...] by name, into it; others among `state` do not matter. Of a tensor
    that the network has under several names one is enough: safetensors keeps no more.

    what: the file, for messages. Raises UserError where some are missing or of another shape: the authors' own loaders
    leave random numbers there.
    """
    wanted = network.state_dict(keep_vars=True)
    held = {id(tensor): name for name, tensor in wanted.items() if name in state}
    stored = {name: name if name in state else held.get(id(tensor)) for name, tensor in wanted.items()}
    missing = [name for name, source in stored.items() if source is None]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{what}: {missing[0]}{more} missing among the weights")
    found = {name: state[source] for name, source in stored.items() if source is not None}
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise UserError(f"{what}: {name} is {tuple(found[name].shape)}, wanted {tuple(tensor.shape)}")
    network.load_state_dict(found)


def read_checkpoint(file: Path, key: str, holds: Sequence[str] = ()) -> Any:
    """A file of torch.save, read as weights alone, onto the CPU. holds: keys that it has to have. Raises UserError."""
    with one_line(f"{key}: {file}: cannot be read as weights"):
        found = torch.load(file, "cpu", weights_only=True)
    fits = isinstance(found, Mapping) and all(name in found for name in holds)
    listed = ", ".join(str(name) for name in list(found)[:4]) if isinstance(found, Mapping) else type(found).__name__
    expect(f"{key}: {file}", listed, fits, " and ".join(holds) or "weights by name")
    return found
