"""Weights of the model hub: whether they are here, where, in which version, and what to do where they are not.

They are looked for on this machine only; the network is asked when a config says `download: true`, and never for longer
than two seconds before it has answered. Single networks (transformers: config.json) and pipelines (diffusers:
model_index.json, a folder for each part) alike.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from worldgen.errors import UserError
from worldgen.models.loading import one_line
from worldgen.paths import user_path
from worldgen.runs.contents import content_of

Network = TypeVar("Network", bound=nn.Module)

_ANSWER_WITHIN_S = 2.0
_FILES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)
_WEIGHTS = tuple(name for stem in _FILES for name in (stem, f"{stem}.index.json"))  # of transformers and of diffusers
_CONFIG, _PIPELINE = "config.json", "model_index.json"
_VARIANTS = ["*.fp16.*", "*.non_ema.*", "*flax*", "*.onnx*", "*openvino*"]  # copies that pipelines bring of their parts
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True)
class HubWeights:
    """One repository of the model hub.

    repo: owner/name. size: of a download, for people ("0.6 GB"), or "". key: of the config that names it, for messages.
    path: a folder on this machine in the hub's layout, instead of the local hub cache. download: whether what is
    missing may be fetched.
    """

    repo: str
    size: str
    key: str
    path: str | None = None
    download: bool = False

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it is here, or may be fetched and the hub answers."""
        if self.path is not None:
            lack = _lack(self._local())
            return f"{self.key}.path: {self.path}: {lack}, wanted {self.repo} in the hub's layout" if lack else None
        if self._cached() is not None:
            return None
        by_hand = f"put its folder on this machine and set {self.key}.path=<folder>"
        return out_of_reach(self._lacking(), self.key, self.download, self.size, by_hand)

    def folder(self) -> Path:
        """Where the files are, fetched first where that is allowed. Raises UserError."""
        reason = self.unavailable()
        if reason is not None:
            raise UserError(reason)
        return self._local() if self.path is not None else self._cached() or self._fetched()

    def versions(self) -> dict[str, str]:
        """The hub's repository and commit, or a folder's name and the sha256 over its files."""
        if self.path is None:
            cached = self._cached()
            return {"model": self.repo} | ({"commit": cached.name} if cached else {})
        if self.unavailable() is not None:
            return {"model": self._local().name}
        return {"model": self._local().name, "sha256": content_of(self._local()) or ""}

    def _local(self) -> Path:
        return user_path(str(self.path))

    def _cached(self) -> Path | None:
        """The snapshot in the local hub cache, named by its commit, if it is whole."""
        folder = self._snapshot()
        return folder if folder is not None and _lack(folder) is None else None

    def _snapshot(self) -> Path | None:
        """The same, whole or not."""
        from huggingface_hub import try_to_load_from_cache

        found = [try_to_load_from_cache(self.repo, name) for name in (_CONFIG, _PIPELINE)]
        return next((Path(file).parent for file in found if isinstance(file, str)), None)

    def _lacking(self) -> str:
        folder = self._snapshot()
        if folder is None:
            return f"{self.repo} is not in the local hub cache"
        return f"{self.repo} is not whole in the local hub cache ({_lack(folder)})"

    def _fetched(self) -> Path:
        from huggingface_hub import list_repo_files, snapshot_download

        with one_line(f"{self.repo} cannot be fetched from the model hub"):
            files = list_repo_files(self.repo)
            # The same weights lie there for several frameworks, and of pipelines in one file at the top; one copy is
            # enough.
            weights = "*.safetensors" if any(file.endswith(".safetensors") for file in files) else "*pytorch_model*.bin"
            weights = f"*/{weights}" if _PIPELINE in files else weights
            others = _VARIANTS if _PIPELINE in files else None
            return Path(snapshot_download(self.repo, allow_patterns=[weights, *_SMALL_FILES], ignore_patterns=others))


def load_whole(kind: Any, folder: Path, **options: Any) -> Any:
    """A model of transformers from a folder. Raises UserError where weights are missing: transformers itself would put
    random numbers in their place, and say so in a warning."""
    model, found = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **options)
    _expect_all(folder, sorted(found["missing_keys"]))
    return model


def load_whole_into(network: Network, folder: Path) -> Network:
    """The network with the weights of a folder in the hub's layout, as they are stored; it may be built on `meta`.

    Raises UserError where weights or buffers are missing, or of another shape.
    """
    state: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        state |= load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    wanted = network.state_dict()
    _expect_all(folder, [name for name in wanted if name not in state])
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            found, shape = tuple(state[name].shape), tuple(tensor.shape)
            raise UserError(f"{folder}: {name} is {found} among the weights, wanted {shape}")
    network.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return network.requires_grad_(False)


def _weight_files(folder: Path) -> list[Path]:
    """The files of a whole folder's weights, in order. Raises UserError."""
    lack = _lack(folder)
    if lack is not None:
        raise UserError(f"{folder}: {lack}")
    found = next(folder / name for name in _WEIGHTS if (folder / name).is_file())
    if found.suffix != ".json":
        return [found]
    shards = json.loads(found.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / shard for shard in sorted(set(shards))]


def _expect_all(folder: Path, missing: Sequence[str]) -> None:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder}: {missing[0]}{more} missing among the weights")


def out_of_reach(lacking: str, key: str, download: bool, size: str, by_hand: str) -> str | None:
    """Why what is `lacking` on this machine cannot be fetched, in one line; None where it may be and the hub answers.

    key: of the config with the `download`; size: of it, for people; by_hand: what to do instead.
    """
    from huggingface_hub import constants

    if not download:
        fetches = f"{key}.download=true fetches it" + (f" ({size})" if size else "")
        return f"{lacking}; {fetches}, or {by_hand}"
    if constants.HF_HUB_OFFLINE:
        return f"{lacking} and HF_HUB_OFFLINE is set; {by_hand}"
    if not answers(constants.ENDPOINT):
        return f"{lacking} and {constants.ENDPOINT.removeprefix('https://')} does not answer; {by_hand}"
    return None


def has_token() -> bool:
    """Whether gated models would be opened to us, as far as we know."""
    from huggingface_hub import get_token

    return bool(get_token())


def answers(url: str) -> bool:
    """Whether anybody answers there, whatever the answer; known after two seconds at most, and asked once."""
    return _answers(url)


@lru_cache
def _answers(url: str) -> bool:
    answered: Queue[bool] = Queue()

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=_ANSWER_WITHIN_S).close()
            answered.put(True)
        except HTTPError:
            answered.put(True)
        except (OSError, ValueError):
            answered.put(False)

    Thread(target=ask, daemon=True).start()  # a name look-up cannot be interrupted, only left behind
    try:
        return answered.get(timeout=_ANSWER_WITHIN_S)
    except Empty:
        return False


def package_versions(*names: str) -> dict[str, str]:
    """Of installed packages, by name."""
    return {name: _package_version(name) for name in names}


def missing_package(*names: str, extra: str) -> str | None:
    """A line that names the first package that is not installed; None where all are. extra: ours that brings it."""
    for name in names:
        if _package_version(name) == "missing":
            return f"{name} is not installed; pip install 'worldgen[{extra}]' brings it"
    return None


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _lack(folder: Path) -> str | None:
    """What a folder in the hub's layout lacks to be loaded."""
    if not folder.is_dir():
        return "no such folder"
    if (folder / _PIPELINE).is_file():
        return _lack_of_pipeline(folder)
    return _lack_of_network(folder) if (folder / _CONFIG).is_file() else f"no {_CONFIG} in it"


def _lack_of_pipeline(folder: Path) -> str | None:
    """Every part that the pipeline's index names has a folder, and its weights where it is a network."""
    try:
        index = json.loads((folder / _PIPELINE).read_text(encoding="utf-8"))
        parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[0] is not None]
    except (ValueError, AttributeError, IndexError):
        return f"{_PIPELINE} cannot be read"
    for part in parts:
        if not (folder / part).is_dir():
            return f"no {part}/ in it"
        if (folder / part / _CONFIG).is_file() and (lack := _lack_of_network(folder / part)):
            return f"{part}/: {lack}"
    return None


def _lack_of_network(folder: Path) -> str | None:
    """Weights in one file, or all the files that an index names."""
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        return f"no {_FILES[0]} or {_FILES[2]} in it"
    return _missing_shard(found) if found.suffix == ".json" else None


def _missing_shard(index: Path) -> str | None:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return f"{index.name} cannot be read"
    missing = sorted(shard for shard in shards if not (index.parent / shard).is_file())
    return f"no {missing[0]} in it" if missing else None
