"""What jobs ask for, against what nodes have."""

import pytest

from worldgen.cluster.nodes import counts, minutes, parse, settled
from worldgen.errors import UserError

SINFO = """\
n1|cpu*|2|2000|1:00:00|(null)
n2|cpu*|16|64000|1:00:00|(null)
g1|gpu|32+|128000|infinite|gpu:a100:4(S:0-1),lustre:1
g2|gpu|64|256000|infinite|gpu:v100:2
"""
NODES = parse(SINFO)
USUAL = {
    "cpus_per_task": "auto",
    "mem_gb": "auto",
    "timeout_min": 60,
    "tasks_per_node": 1,
    "partition": None,
    "gres": None,
}


def test_what_sinfo_prints_is_read():
    assert [node.name for node in NODES] == ["n1", "n2", "g1", "g2"]
    assert [node.is_default for node in NODES] == [True, True, False, False]
    assert NODES[2].cpus == 32
    assert NODES[2].gres == {"gpu": 4, "gpu:a100": 4, "lustre": 1}
    assert parse("nonsense\n\n") == []


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("30", 30), ("90:30", 90.5), ("1:00:00", 60), ("2-00:00:00", 2880), ("1-12", 2160), ("infinite", None)],
)
def test_time_limits_in_minutes(limit, expected):
    assert minutes(limit) == expected


def test_gres_are_counted_by_kind_and_type():
    assert counts("gpu:2,gpu:a100:1") == {"gpu": 3, "gpu:a100": 1}
    assert counts("(null)") == {}
    assert counts("gpu") == {"gpu": 1}


def test_auto_is_the_usual_where_a_node_has_it():
    settings, notes = settled(USUAL, NODES)
    assert (settings["cpus_per_task"], settings["mem_gb"]) == (4, 8)
    assert notes == []
    assert settled(USUAL, [])[0]["cpus_per_task"] == 4


def test_auto_is_what_the_largest_node_has_where_that_is_less_and_says_so():
    settings, notes = settled(USUAL, NODES[:1])
    assert (settings["cpus_per_task"], settings["mem_gb"]) == (2, 0)
    assert notes == [
        "hydra.launcher.cpus_per_task: 2, not 4: the largest node of partition cpu has 2 CPUs",
        "hydra.launcher.mem_gb: 0 (all that a node has), not 8: the largest node of partition cpu has 2 GB",
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"cpus_per_task": 17},
            "hydra.launcher.cpus_per_task: 17, wanted at most 16, which is what the largest node",
        ),
        ({"mem_gb": 100}, "hydra.launcher.mem_gb: 100, wanted at most 62.5"),
        ({"timeout_min": 120}, "hydra.launcher.timeout_min: 120, wanted at most 60, the partition's limit"),
        ({"gres": "gpu:1"}, "hydra.launcher.gres: gpu:1, wanted at most 0"),
        ({"partition": "gpu", "gres": "gpu:v100:4"}, "hydra.launcher.gres: gpu:v100:4, wanted at most 2"),
        ({"partition": "gpu", "cpus_per_task": 64, "gres": "gpu:4"}, "no node of partition gpu has all of it"),
        ({"cpus_per_task": "many"}, "hydra.launcher.cpus_per_task: many, wanted a number, or auto"),
    ],
)
def test_more_than_any_node_has_is_refused_in_one_line(asked, said):
    with pytest.raises(UserError) as caught:
        settled(USUAL | asked, NODES)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_partition_that_is_not_there_is_left_to_sbatch():
    assert settled(USUAL | {"partition": "nowhere", "cpus_per_task": 99}, NODES)[0]["cpus_per_task"] == 99
