"""What all adapters have in common whose network is one checkpoint of the model hub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from worldgen.models.hub import HubWeights, package_versions
from worldgen.models.hub_file import HubFile


@dataclass
class HubAdapter(ABC):
    """model: owner/name on the hub. path: a folder in the hub's layout, or the one file, on this machine, instead.
    download: whether what is missing may be fetched; size: of that, for people. key: where the config has it, for
    messages."""

    model: str
    path: str | None = None
    download: bool = False
    size: str = ""
    key: str = field(default="", init=False)

    packages: ClassVar[Sequence[str]] = ()
    """Whose versions decide what it answers."""

    @abstractmethod
    def lacks_code(self) -> str | None:
        """Why what runs the network cannot be imported, in one line; None where it can, as far as that is seen without
        importing it."""

    @property
    def checkpoint(self) -> HubWeights | HubFile:
        """The checkpoint: a folder in the hub's layout, where an adapter does not say otherwise."""
        return HubWeights(self.model, self.size, self.key, self.path, self.download)

    @property
    def weights(self) -> Sequence[HubWeights | HubFile]:
        """All that is loaded from the hub, the checkpoint first."""
        return (self.checkpoint,)

    @property
    def named(self) -> str:
        """Which checkpoint it is, for people."""
        return self.model if self.path is None else self.path

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it can, as far as that is seen without loading it."""
        return self.lacks_code() or next(filter(None, (each.unavailable() for each in self.weights)), None)

    def versions(self) -> dict[str, str]:
        """Of the packages, and of the checkpoint."""
        return package_versions(*self.packages) | self.checkpoint.versions()
