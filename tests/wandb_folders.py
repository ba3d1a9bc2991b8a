"""What an offline run of wandb leaves on the disk, read back; it may come there some milliseconds after the run's end.

It is one file of records in LevelDB's log format (blocks of 32 KiB, each record cut where a block ends), each record a
protobuf of wandb's own; what a resumed run adds lies in a folder and file of its own.
"""

import json
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PATIENCE_S = 120
_MAGIC, _HEADER_BYTES = b":W&B", 7
_BLOCK_BYTES, _RECORD_HEADER = 32_768, struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _LAST = 1, 2, 4


@dataclass(frozen=True, eq=False)
class LoggedRun:
    """One run as its file has it. state: unfinished, finished or failed; history: of each call of log; artifacts: name,
    type, metadata and files; began_ns: since 1970."""

    id: str
    project: str
    entity: str
    group: str
    job_type: str
    name: str
    tags: list[str]
    state: str
    preempted: bool
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]
    began_ns: int

    def curve(self, key: str) -> list[Any]:
        """The values of a key, in the order of their logging."""
        return [row[key] for row in self.history if key in row]


def stay_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on wandb is offline, asks no environment for a project, and keeps its own files in `tmp_path`."""
    for name in ("PROJECT", "ENTITY"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb_home"))


def begun(folder: Path) -> list[Path]:
    """The files of all runs that ended below `folder`, the oldest first, once they are whole."""
    files = list(folder.rglob("offline-run-*/*.wandb"))
    deadline = time.monotonic() + _PATIENCE_S
    while not all(map(_is_whole, files)):
        assert time.monotonic() < deadline, f"{folder}: a run has no end"
        time.sleep(0.01)
    return sorted(files, key=lambda file: read_offline(file).began_ns)


def _is_whole(file: Path) -> bool:
    try:
        return read_offline(file).state != "unfinished"
    except ValueError:
        return False


def read_offline(file: Path) -> LoggedRun:
    """A run-<id>.wandb file. Raises ValueError where it is none, or tells of no run yet."""
    from wandb.proto import wandb_internal_pb2

    content = file.read_bytes()
    if not content.startswith(_MAGIC):
        raise ValueError(f"{file}: not a file that wandb wrote")
    about: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    artifacts: list[dict[str, Any]] = []
    state, preempted = "unfinished", False
    for payload in _payloads(content):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = {"id": record.run.run_id, "group": record.run.run_group, "job_type": record.run.job_type}
            about |= {"project": record.run.project, "entity": record.run.entity}
            about |= {"name": record.run.display_name, "tags": list(record.run.tags)}
            about["began_ns"] = record.run.start_time.ToNanoseconds()
            _update(config, record.run.config.update)
        elif kind == "config":
            _update(config, record.config.update)
        elif kind == "summary":
            _update(summary, record.summary.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            history.append(row)
        elif kind == "artifact":
            artifacts.append(_artifact(record.artifact))
        elif kind == "preempting":
            preempted = True
        elif kind == "exit":
            state = "finished" if record.exit.exit_code == 0 else "failed"
    if not about:
        raise ValueError(f"{file}: tells of no run")
    found = {"config": config, "summary": summary, "history": history, "artifacts": artifacts}
    return LoggedRun(**about, **found, state=state, preempted=preempted)


def _artifact(record: Any) -> dict[str, Any]:
    files = [content.path for content in record.manifest.contents]
    metadata = json.loads(record.metadata or "{}")
    return {"name": record.name, "type": record.type, "metadata": metadata, "files": files}


def _payloads(content: bytes) -> Iterator[bytes]:
    """The log's records, put together again."""
    place, parts = _HEADER_BYTES, b""
    while place + _RECORD_HEADER.size <= len(content):
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _RECORD_HEADER.size:
            place += left
            continue
        _, length, kind = _RECORD_HEADER.unpack_from(content, place)
        place += _RECORD_HEADER.size
        if place + length > len(content):
            return
        parts = content[place : place + length] if kind in (_WHOLE, _FIRST) else parts + content[place : place + length]
        place += length
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""


def _update(node: dict[str, Any], items: Sequence[Any]) -> None:
    """Sets values by their keys, which are one name or a path of names."""
    for item in items:
        keys = list(item.nested_key) or [item.key]
        inner = node
        for key in keys[:-1]:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[keys[-1]] = json.loads(item.value_json)
