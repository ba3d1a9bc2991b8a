"""What a job asks for, held against what the cluster's nodes have: more than any of them has would pend for ever.

Slurm takes such a job in some setups, and never starts it. Where `sinfo` does not answer, nothing is held against.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldgen.errors import UserError, expect

AUTO = "auto"
AUTO_CPUS, AUTO_MEM_GB = 4, 8
_ANSWER_S = 20.0
_KEY = "hydra.launcher"


@dataclass(frozen=True)
class Node:
    """A node in one of its partitions. memory_mb: as Slurm knows it; limit_min: of a job there, None without; gres: how
    many of each kind, `gpu` and `gpu:a100` alike."""

    name: str
    partition: str
    is_default: bool
    cpus: int
    memory_mb: int
    limit_min: float | None
    gres: dict[str, int] = field(default_factory=dict)


def nodes() -> list[Node]:
    """All nodes, by partition; empty where `sinfo` does not say."""
    command = ["sinfo", "--noheader", "--Node", "--format=%N|%P|%c|%m|%l|%G"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse(said.stdout) if said.returncode == 0 else []


def parse(text: str) -> list[Node]:
    """What `sinfo` prints in the format above; lines of another form are left out."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 6:
            continue
        name, partition, cpus, memory, limit, gres = parts
        sizes = [re.match(r"\d+", size) for size in (cpus, memory)]  # 64+ where nodes of a line differ
        if None in sizes:
            continue
        few = [int(size[0]) for size in sizes if size]
        is_default = partition.endswith("*")
        found.append(Node(name, partition.rstrip("*"), is_default, few[0], few[1], minutes(limit), counts(gres)))
    return found


def minutes(limit: str) -> float | None:
    """A time limit of Slurm's (days-hours:minutes:seconds, or less of it) in minutes; None where there is none."""
    days, dash, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (dash and not days.isdigit()):
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, mins, seconds = [*numbers, 0, 0][:3]
        return int(days) * 1440 + hours * 60 + mins + seconds / 60
    if len(numbers) == 1:
        return numbers[0]
    *hour, mins, seconds = numbers
    return sum(hour) * 60 + mins + seconds / 60


def counts(gres: str) -> dict[str, int]:
    """How many of each kind: `gpu:a100:4(S:0-1)` is {"gpu": 4, "gpu:a100": 4}."""
    found: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *more = [part for part in entry.strip().split(":") if part] or [""]
        if not name:
            continue
        number = int(more.pop()) if more and more[-1].isdigit() else 1
        for kind in dict.fromkeys([name, ":".join([name, *more])]):
            found[kind] = found.get(kind, 0) + number
    return found


def settled(asked: Mapping[str, Any], there: Sequence[Node]) -> tuple[dict[str, Any], list[str]]:
    """The launcher's settings with numbers for every `auto`, and a line for each that is less than usual.

    Raises UserError where no node of the partition has what is asked for.
    """
    settings, notes = dict(asked), []
    there = _of_partition(settings.get("partition"), there)
    largest = {"cpus_per_task": max((n.cpus for n in there), default=0), "mem_gb": _most_gb(there)}
    tasks = int(settings.get("tasks_per_node") or 1)
    if settings.get("cpus_per_task") == AUTO:
        cpus = max(1, min(AUTO_CPUS, largest["cpus_per_task"] // tasks)) if there else AUTO_CPUS
        settings["cpus_per_task"] = cpus
        if cpus < AUTO_CPUS:
            notes.append(
                _lowered("cpus_per_task", cpus, AUTO_CPUS, f"{_largest(there)} {largest['cpus_per_task']} CPUs")
            )
    if settings.get("mem_gb") == AUTO:
        enough = not there or largest["mem_gb"] >= AUTO_MEM_GB
        settings["mem_gb"] = AUTO_MEM_GB if enough else 0
        if not enough:
            has = f"{_largest(there)} {largest['mem_gb']:.2g} GB"
            notes.append(_lowered("mem_gb", "0 (all that a node has)", AUTO_MEM_GB, has))
    for key in ("cpus_per_task", "mem_gb", "timeout_min"):
        value = settings.get(key)
        fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)
        expect(f"{_KEY}.{key}", value, fits, f"a number{'' if key == 'timeout_min' else f', or {AUTO}'}")
    if there:
        _expect_fits(settings, there, tasks)
    return settings, notes


def _expect_fits(settings: Mapping[str, Any], there: Sequence[Node], tasks: int) -> None:
    cpus, memory = (settings.get("cpus_per_task") or 1) * tasks, (settings.get("mem_gb") or 0) * 1024
    most = max(n.cpus for n in there)
    where = f", which is what {_largest(there)}"
    each = f" for each of {tasks} tasks" if tasks > 1 else ""
    _expect("cpus_per_task", f"{settings.get('cpus_per_task')}{each}", cpus <= most, f"{most // tasks}{where}")
    _expect("mem_gb", settings.get("mem_gb"), memory <= _most_gb(there) * 1024, f"{_most_gb(there):.3g}{where}")
    limits = [n.limit_min for n in there if n.limit_min is not None]
    if len(limits) == len(there):
        minutes_ = settings.get("timeout_min") or 0
        _expect("timeout_min", minutes_, minutes_ <= max(limits), f"{max(limits):g}, the partition's limit")
    wanted = counts(str(settings.get("gres") or ""))
    if settings.get("gpus_per_node"):
        wanted["gpu"] = int(settings["gpus_per_node"])
    for kind, number in wanted.items():
        has = max(n.gres.get(kind, 0) for n in there)
        _expect("gres", f"{kind}:{number}", number <= has, f"{has}{where}")
    if not any(_has_all(node, cpus, memory, wanted) for node in there):
        kinds = "".join(f", {number} {kind}" for kind, number in wanted.items())
        raise UserError(
            f"{_KEY}: {cpus} CPUs, {memory / 1024:g} GB{kinds} on one node, wanted less of one of them: no node of "
            f"{_named(there)} has all of it"
        )


def _has_all(node: Node, cpus: float, memory_mb: float, gres: Mapping[str, int]) -> bool:
    enough = node.cpus >= cpus and node.memory_mb >= memory_mb
    return enough and all(node.gres.get(kind, 0) >= number for kind, number in gres.items())


def _expect(key: str, value: object, ok: bool, most: str) -> None:
    expect(f"{_KEY}.{key}", value, ok, f"at most {most}; more would wait for ever")


def _of_partition(partition: str | None, there: Sequence[Node]) -> list[Node]:
    """Its nodes, or the default partition's; none where that is not known, which sbatch then says."""
    names = partition.split(",") if partition else None
    return [node for node in there if (node.partition in names if names else node.is_default)]


def _most_gb(there: Sequence[Node]) -> float:
    return max((node.memory_mb for node in there), default=0) / 1024


def _named(there: Sequence[Node]) -> str:
    return f"partition {','.join(dict.fromkeys(node.partition for node in there))}"


def _largest(there: Sequence[Node]) -> str:
    return f"the largest node of {_named(there)} has"


def _lowered(key: str, value: object, usual: int, why: str) -> str:
    return f"{_KEY}.{key}: {value}, not {usual}: {why}"
