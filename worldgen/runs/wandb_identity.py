"""Which W&B run belongs to a folder: a random id, kept in the folder, with what W&B was told of it.

`<folder>/wandb/<job type>.json`. The id is never made of a path: two clusters may have folders of one name. A folder
that was copied, or moved to another disk, gets a new id when something is made in it; see `taken_up`.
"""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from worldgen.errors import expect
from worldgen.runs.disk import write_text
from worldgen.runs.folder import load_json_or_nothing
from worldgen.runs.record import hash_of

PROJECT = "worldgen"
_MODES = ("online", "offline", "disabled")
_ID_BYTES = 8


@dataclass(frozen=True)
class Destination:
    """Where at W&B a run goes. None = as WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE say, or else the project `worldgen`,
    the account's own entity, and online."""

    project: str | None = None
    entity: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        expect("logger.mode", self.mode, self.mode in (None, *_MODES), f"one of {', '.join(_MODES)}")

    def settled(self, project: str | None = None) -> "Destination":
        """As it comes to, by the environment of now. project: where neither names one; None = `PROJECT`."""
        return Destination(
            self.project or os.environ.get("WANDB_PROJECT") or project or PROJECT,
            self.entity or os.environ.get("WANDB_ENTITY") or None,
            self.mode or os.environ.get("WANDB_MODE") or None,  # which wandb itself reads once in a process
        )


@dataclass(frozen=True)
class WandbIdentity:
    """One W&B run. place: where its folder was when something was last made in it, see `_place`; copied_from: the id of
    the run whose folder this one is a copy of; made_of: hash of what it is of, where another one shall be another run;
    logged: {what: state of it that W&B has}."""

    id: str
    job_type: str
    name: str
    group: str
    tags: tuple[str, ...] = ()
    project: str | None = None
    entity: str | None = None
    place: Mapping[str, Any] = field(default_factory=dict)
    copied_from: str | None = None
    made_of: str | None = None
    logged: Mapping[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keeps it in the folder."""
        path = _path(folder, self.job_type)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


def kept(folder: Path, job_type: str) -> WandbIdentity | None:
    """The W&B run of a folder; None where it has none, or the file is broken."""
    content = load_json_or_nothing(_path(folder, job_type))
    names = {one.name for one in fields(WandbIdentity)}
    try:
        known = {name: value for name, value in content.items() if name in names}
        return WandbIdentity(**{**known, "tags": tuple(known["tags"]), "logged": dict(known["logged"])})
    except (TypeError, KeyError, ValueError):
        return None


def taken_up(folder: Path, wanted: WandbIdentity) -> WandbIdentity:
    """The identity that a folder's run goes on with: its own, or `wanted` with a new id.

    `wanted` is the run as it would be now; the id and `logged` are kept. The new id stays for a folder that has none
    yet, for a run of something else or of another project, and for a copy: a folder that neither has the number on its
    disk nor the path on its cluster that were written down.
    """
    found, wanted = kept(folder, wanted.job_type), replace(wanted, place=_place(folder))
    here = (wanted.made_of, wanted.project, wanted.entity)
    if found is None or (found.made_of, found.project, found.entity) != here:
        return wanted
    if not _is_same(found.place, wanted.place):
        return replace(wanted, copied_from=found.id)
    return replace(wanted, id=found.id, logged=found.logged, copied_from=found.copied_from)


def new_id() -> str:
    """16 hex digits that nobody else has."""
    return secrets.token_hex(_ID_BYTES)


def state_of(*parts: Any) -> str:
    """A short hash of JSON-able values, for `logged`."""
    return hash_of(parts)[:16]


def _path(folder: Path, job_type: str) -> Path:
    return folder / "wandb" / f"{job_type}.json"


def _place(folder: Path) -> dict[str, Any]:
    """What tells a folder from its copies: its number on its disk, which moving it there keeps, and its path on this
    cluster, which some disks' numbers do not outlast."""
    whole = folder.resolve()
    cluster = os.environ.get("SLURM_CLUSTER_NAME") or socket.gethostname()
    return {"inode": whole.stat().st_ino, "path": str(whole), "cluster": cluster}


def _is_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    there = (before.get("path"), before.get("cluster")) == (now["path"], now["cluster"])
    return there or before.get("inode") == now["inode"]
