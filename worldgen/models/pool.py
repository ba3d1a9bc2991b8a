"""The adapters of one run, by what the config says of them: made at once, loaded when a step needs them, then released.

Two places of the config that say the same share one adapter, also where one is a part of another
(`completer.inpainter: ${inpainter}`): its network is in memory once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import hydra.utils
from hydra.errors import InstantiationException

from worldgen.errors import UserError
from worldgen.models.runtime import Runtime
from worldgen.runs.record import hash_of


@runtime_checkable
class Lifetime(Protocol):
    """What loads something into memory and lets go of it, as every adapter does (`protocols.py`)."""

    def load(self, runtime: Runtime) -> None: ...

    def release(self) -> None: ...


class Pool(Mapping[str, Any]):
    """The object of each config group, by the group's name.

    config: groups, as plain dicts with `_target_`s, interpolations resolved. Raises, as `hydra.utils.instantiate` does,
    InstantiationException with the key of what cannot be made; a wrong setting's UserError is behind it.
    """

    def __init__(self, config: Mapping[str, Mapping[str, Any]], runtime: Runtime) -> None:
        self.runtime = runtime
        self._made: dict[str, Any] = {}
        self._parts: dict[str, set[str]] = {}  # of an object, itself among them; all by the hash of their config
        self._loaded: set[str] = set()
        self._of_group = {group: hash_of(node) for group, node in config.items()}
        for group, node in config.items():
            self._make(node, group)

    def __getitem__(self, group: str) -> Any:
        return self._made[self._of_group[group]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_group)

    def __len__(self) -> int:
        return len(self._of_group)

    def objects(self, groups: Iterable[str]) -> list[Any]:
        """What the groups are made of, parts before wholes."""
        return [self._made[key] for key in self._in_order(groups)]

    def load(self, groups: Iterable[str]) -> None:
        """Loads what the groups are made of, parts before wholes, where it is not in memory yet."""
        for key in self._in_order(groups):
            if isinstance(self._made[key], Lifetime):
                self._loaded.add(key)  # first: what fails half-way is to be released, too
                self._made[key].load(self.runtime)

    def release_all_but(self, groups: Iterable[str]) -> None:
        """Releases what is in memory and no part of any of the groups. A whole that would take a part along which is
        still needed waits for it."""
        needed = set(self._in_order(groups))
        for key in [key for key in self._made if key in self._loaded and not self._parts[key] & needed]:
            self._made[key].release()
            self._loaded.remove(key)

    def _in_order(self, groups: Iterable[str]) -> list[str]:
        """The hashes of the groups' parts, in the order of their making."""
        wanted = set().union(*(self._parts[self._of_group[group]] for group in groups if group in self._of_group))
        return [key for key in self._made if key in wanted]

    def _make(self, node: Any, name: str) -> tuple[Any, set[str]]:
        """What a node of the config stands for, and which objects it is made of. name: the node's key."""
        if isinstance(node, list):
            items = [self._make(item, f"{name}.{index}") for index, item in enumerate(node)]
            return [item for item, _ in items], set().union(*(parts for _, parts in items))
        if not isinstance(node, Mapping):
            return node, set()
        children = {key: self._make(child, f"{name}.{key}") for key, child in node.items() if key != "_target_"}
        values = {key: value for key, (value, _) in children.items()}
        parts: set[str] = set().union(*(parts for _, parts in children.values()))
        if "_target_" not in node:
            return values, parts
        key = hash_of(node)
        if key not in self._made:
            self._made[key] = _instantiated(node["_target_"], values, name)
            self._parts[key] = parts | {key}
        return self._made[key], self._parts[key]


def _instantiated(target: str, settings: Mapping[str, Any], name: str) -> Any:
    try:
        return hydra.utils.get_object(target)(**settings)
    except UserError:
        raise
    except Exception as error:
        raise InstantiationException(f"Error in call to target '{target}': {error!r}\nfull_key: {name}") from error
