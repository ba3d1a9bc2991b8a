"""Weights of the model hub that are one file, in no layout: whether it is here, where, and what to do where it is not.

Folders in the hub's layout are `hub.py`'s.
"""

from dataclasses import dataclass
from pathlib import Path

from worldgen.errors import UserError
from worldgen.models.hub import out_of_reach
from worldgen.models.loading import one_line
from worldgen.paths import user_path
from worldgen.runs.contents import content_of


@dataclass(frozen=True)
class HubFile:
    """One file of a repository of the model hub.

    repo: owner/name. file: its name there. size: of a download, for people ("1.3 GB"), or "". key: of the config that
    names it, for messages. path: the file on this machine, or the folder that it lies in, instead of the local hub
    cache. download: whether it may be fetched where it is missing. path_key: of the config that names the path; "" =
    `key`.path.
    """

    repo: str
    file: str
    size: str
    key: str
    path: str | None = None
    download: bool = False
    path_key: str = ""

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it is here, or may be fetched and the hub answers."""
        path_key = self.path_key or f"{self.key}.path"
        if self.path is not None:
            return None if self._local().is_file() else f"{path_key}: {self.path}: no {self.file} there"
        if self._cached() is not None:
            return None
        by_hand = f"put the file on this machine and set {path_key}=<file>"
        lacking = f"{self.repo}: {self.file} is not in the local hub cache"
        return out_of_reach(lacking, self.key, self.download, self.size, by_hand)

    def folder(self) -> Path:
        """Where the file lies, as `here`."""
        return self.here().parent

    def here(self) -> Path:
        """Where the file is, fetched first where that is allowed. Raises UserError."""
        if reason := self.unavailable():
            raise UserError(reason)
        return self._local() if self.path is not None else self._cached() or self._fetched()

    def versions(self) -> dict[str, str]:
        """The hub's repository and commit, or a file's name and sha256."""
        if self.path is None:
            cached = self._cached()
            return {"model": self.repo} | ({"commit": cached.parent.name} if cached else {})
        content = content_of(self._local())
        return {"model": self._local().name} | ({"sha256": content} if content else {})

    def _local(self) -> Path:
        named = user_path(str(self.path))
        return named / self.file if named.is_dir() else named

    def _cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo, self.file)
        return Path(found) if isinstance(found, str) else None

    def _fetched(self) -> Path:
        from huggingface_hub import hf_hub_download

        with one_line(f"{self.repo}: {self.file} cannot be fetched from the model hub"):
            return Path(hf_hub_download(self.repo, self.file))
