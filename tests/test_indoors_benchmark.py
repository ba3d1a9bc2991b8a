"""The benchmark of the guess indoors or outdoors: crops of known panoramas, each taken for what it is or not."""

import json

import torch

from eval.benchmarks import indoors
from tests.outdoors import meadow


def test_it_counts_what_is_right_and_its_last_line_is_json(monkeypatch, capsys):
    open_air = meadow(128)[0].rgb
    dark_wood = (
        torch.rand(3, 128, 256, generator=torch.Generator().manual_seed(0))
        * torch.tensor([0.4, 0.2, 0.1])[:, None, None]
    )
    monkeypatch.setattr(
        indoors, "truth_panoramas", lambda: iter([("meadow", open_air), ("hall", open_air), ("lab", dark_wood)])
    )
    monkeypatch.setattr(indoors, "_YAWS_DEG", (0, 180))
    assert indoors.main([]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["panoramas"] == 3
    assert told["right"]["outdoors"] > 0.8  # a meadow is one
    assert told["right"]["indoors"] < 0.6  # what is called a hall here is the same meadow
