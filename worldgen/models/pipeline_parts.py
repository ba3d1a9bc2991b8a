"""What a pipeline of diffusers is made of: its class, whole networks, scheduler, LoRAs, and where they wait."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgen.errors import UserError, expect, first_line
from worldgen.models.hub import load_whole
from worldgen.models.hub_file import HubFile
from worldgen.paths import user_path

if TYPE_CHECKING:
    import torch
    from torch import nn

    from worldgen.models.runtime import Runtime

_INDEX = "model_index.json"


@dataclass(frozen=True)
class Lora:
    """model: owner/name on the hub, or a folder on this machine. file: in it. scale: how much of it."""

    model: str
    file: str
    scale: float = 1.0

    def weights(self, key: str, place: str, download: bool) -> HubFile:
        """Its file. key: of the adapter's config; place: of the LoRA's entry there."""
        path = self.model if user_path(self.model).exists() else None
        return HubFile(self.model, self.file, "", key, path, download, f"{place}.model")


def lora(entry: Mapping[str, Any], key: str) -> Lora:
    """Of a config's entry. Raises UserError for another kind of entry. key: where it stands."""
    try:
        return Lora(**entry)
    except TypeError as error:
        raise UserError(f"{key}: {entry}, wanted model, file and perhaps scale") from error


def pipeline_class(folder: Path, key: str, auto: str, fits: Callable[[Set[str]], bool]) -> tuple[Any, Any]:
    """A checkpoint's own class of pipeline, and what loads it: that class, where it `fits` by its call's arguments, or
    diffusers' class `auto`, which knows others for the same parts. Raises UserError for what is no pipeline."""
    import diffusers

    if not (folder / _INDEX).is_file():
        raise UserError(f"{key}: {folder}: no {_INDEX} in it, wanted a pipeline of diffusers")
    name = json.loads((folder / _INDEX).read_text(encoding="utf-8")).get("_class_name")
    own: Any = getattr(diffusers, str(name), None)
    expect(key, f"{folder}: {name}", own is not None, f"a pipeline that diffusers {diffusers.__version__} has")
    return own, own if fits(inspect.signature(own.__call__).parameters.keys()) else getattr(diffusers, auto)


def networks(folder: Path, dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    """Those of diffusers among a checkpoint's parts, each with all its weights. Raises UserError where some are
    missing: diffusers itself would put random numbers in their place."""
    import diffusers

    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    for name, kind in index.items():
        if isinstance(kind, list) and kind[0] == "diffusers" and (folder / name / "config.json").is_file():
            yield name, load_whole(getattr(diffusers, kind[1]), folder / name, torch_dtype=dtype)


def scheduler_for(own: Any, name: str | None, options: Mapping[str, Any], key: str) -> Any:
    """The scheduler of that name with the settings of the checkpoint's `own`, but for `options`. Raises UserError."""
    import diffusers

    there = [each for each in dir(diffusers) if each.endswith("Scheduler")]
    if name is not None and name not in there:
        near = difflib.get_close_matches(f"{name.removesuffix('Scheduler')}Scheduler", there, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{key}.scheduler: {name}, wanted a scheduler of diffusers{hint}")
    kind = type(own) if name is None else getattr(diffusers, name)
    taken = inspect.signature(kind.__init__).parameters
    for option, value in options.items():
        expect(f"{key}.scheduler_options.{option}", value, option in taken, f"an option that {kind.__name__} takes")
    return kind.from_config(own.config, **options)


def add_loras(pipe: Any, entries: Sequence[Mapping[str, Any]], key: str, download: bool) -> None:
    """Puts LoRAs over the pipeline's networks. Raises UserError for what is not there or does not fit."""
    names, scales = [], []
    for number, entry in enumerate(entries):
        one, place = lora(entry, key), f"{key}.loras.{number}"
        file = one.weights(key, place, download).here()
        try:
            pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"lora{number}")
        except Exception as error:  # of a file that is no LoRA, or of another network's: anything
            raise UserError(f"{place}: {file}: does not fit {type(pipe).__name__}: {first_line(error)}") from error
        fits = any(f"lora{number}" in there for there in pipe.get_list_adapters().values())
        expect(place, file, fits, f"a LoRA for {type(pipe).__name__}; no weight of this one has a place there")
        names.append(f"lora{number}")
        scales.append(one.scale)
    if names:
        pipe.set_adapters(names, scales)


def place(pipe: Any, runtime: Runtime, new: nn.Module | None = None) -> None:
    """Onto the device, or where its networks wait for their turn. Raises UserError for offload without a GPU.

    new: the one network of the pipeline that no other one has placed yet; None = all of them.
    """
    device, offload = runtime.torch_device, runtime.offload
    expect("runtime.offload", offload, offload == "none" or device.type != "cpu", "none (networks run on a CPU here)")
    if offload == "none":
        pipe.to(device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif new is None:
        pipe.enable_sequential_cpu_offload(device=device)
    else:  # layers that wait already cannot be sent away again
        from accelerate import cpu_offload

        cpu_offload(new, device)
