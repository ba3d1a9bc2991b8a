"""W&B runs as compare.py sees them: from W&B's API, or from the folders that an offline run leaves.

An offline run is one file of records in LevelDB's log format (blocks of 32 KiB, each record cut where a block ends),
each record a protobuf of wandb's own; what a resumed run adds lies in a folder and file of its own.
"""

import json
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.runs.wandb_runs import expect_wandb, one_line

_MAGIC, _HEADER_BYTES = b":W&B", 7
_BLOCK_BYTES, _RECORD_HEADER = 32_768, struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _LAST = 1, 2, 4


@dataclass(frozen=True, eq=False)
class WandbRun:
    """One run at W&B. state: finished, running, crashed, ..., as W&B says; began_ns: since 1970, where a file says."""

    id: str
    group: str
    job_type: str
    state: str
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    began_ns: int = 0


def online_runs(path: str, group: str | None) -> list[WandbRun]:
    """The runs of a project, `entity/project` or `project`. Raises UserError where W&B does not answer."""
    expect_wandb(f"wandb={path}")
    import wandb

    try:
        found = wandb.Api(timeout=30).runs(path, filters={"group": group} if group else None)
        return [
            WandbRun(run.id, run.group or "", run.job_type or "", run.state, dict(run.config), _plain(run.summary))
            for run in found
        ]
    except Exception as error:  # wandb raises its own, requests' and ValueErrors
        raise UserError(
            f"wandb: {path} cannot be read ({one_line(error)}), wanted entity/project or a folder"
        ) from error


def offline_runs(folder: Path, group: str | None) -> list[WandbRun]:
    """The runs that lie anywhere under a folder, each as its latest file has it; broken files are said and left out.

    Raises UserError where there is none.
    """
    expect_wandb(f"wandb={folder}")
    read = []
    for file in sorted(folder.rglob("*run-*/*.wandb")):
        try:
            read.append(read_offline(file))
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
    runs = {run.id: run for run in sorted(read, key=lambda run: run.began_ns)}
    found = [run for run in runs.values() if not group or run.group == group]
    if not found:
        which = f"none of the group {group!r}" if runs else "no offline-run-* folder"
        raise UserError(f"wandb: {which} in {folder}, wanted what WANDB_MODE=offline leaves, or entity/project")
    return found


def read_offline(file: Path) -> WandbRun:
    """A run-<id>.wandb file. Raises UserError where it is something else; one that was cut off is read to its end."""
    from wandb.proto import wandb_internal_pb2

    content = file.read_bytes()
    if not content.startswith(_MAGIC):
        raise UserError(f"{file}: not a file that wandb wrote, wanted one that begins with {_MAGIC.decode()}")
    about: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    state = "unfinished"
    for payload in _payloads(content):
        record = wandb_internal_pb2.Record()
        try:
            record.ParseFromString(payload)
        except Exception:  # protobuf's own error is not where its older versions have it
            warnings.warn(f"{file}: a damaged record is left out", stacklevel=2)
            continue
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = {"id": record.run.run_id, "group": record.run.run_group, "job_type": record.run.job_type}
            about["began_ns"] = record.run.start_time.ToNanoseconds()
            _update(config, record.run.config.update)
        elif kind == "config":
            _update(config, record.config.update)
        elif kind == "summary":
            _update(summary, record.summary.update)
        elif kind == "exit":
            state = "finished" if record.exit.exit_code == 0 else "failed"
    if not about:
        raise UserError(f"{file}: tells of no run, wanted one that wandb.init began")
    return WandbRun(**about, state=state, config=config, summary=summary)


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


def _plain(summary: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(summary).items() if isinstance(value, int | float | str)}
