"""Our own safetensors files: named tensors exactly as they are in memory, and nothing in them that is not finite."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worldgen.errors import UserError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Tensors of any shapes and devices to a file, and a few words about them."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(on_cpu, dict(metadata) if metadata else None))


def load_tensors(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """What `save_tensors` wrote under these names. Raises UserError where the file is something else, holds other names
    or values that are not finite."""
    try:
        tensors = load(path.read_bytes())  # load_file takes no path that is not UTF-8
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from error
    if set(tensors) != set(names):
        raise UserError(f"{path}: holds {', '.join(sorted(tensors))}, wanted {', '.join(names)}")
    expect_finite(str(path), tensors)
    return tensors


def metadata_of(path: Path) -> dict[str, str]:
    """What a sound safetensors file says beside its tensors, in the header of JSON that it begins with."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)).get("__metadata__", {})


def expect_finite(where: str, tensors: Mapping[str, Tensor]) -> None:
    """Raises UserError, which names the first tensor that holds an infinity or NaN and says how many."""
    for name, tensor in tensors.items():
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            broken = tensor.numel() - int(finite.sum())
            raise UserError(f"{where}: {broken} values of {name} are not finite, wanted none")
