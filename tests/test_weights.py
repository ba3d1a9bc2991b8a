"""The weights' sizes in docs/models.md: `pytest -m slow tests/test_weights.py`."""

import pytest
import torch
from torch import nn

pytest.importorskip("diffusers")

from tests.house import ROOT

pytestmark = pytest.mark.slow  # imports diffusers' and transformers' networks and builds full-size ones


def test_a_network_is_counted_and_holds_no_numbers():
    from tests.benchmarks.weights import count

    made = []
    assert count(lambda: made.append(nn.Linear(10**6, 10**4)) or made[0]) == 10**10 + 10**4
    assert made[0].weight.is_meta
    assert torch.linspace(0, 1, 2).device.type == "cpu"


@pytest.mark.parametrize("choice", ["inpainter=sd15", "refine=sdxl", "view_depth=depth_anything", "prompts=vlm"])
def test_the_table_says_what_is_counted(choice):
    from tests.benchmarks.weights import gigabytes

    group, name = choice.split("=")
    lines = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    group_of = ""
    for row in rows:
        group_of = row[0].strip("`") or group_of
        if group_of == group and row[1].startswith(f"`{name}`"):
            said = row[4].split()[0]
            assert said == f"{gigabytes(choice):.{len(said.partition('.')[2])}f}"
            return
    pytest.fail(f"docs/models.md: no row for {choice}")
