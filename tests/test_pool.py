"""Adapters live as long as the steps that use them; where and how they run decides about nothing else."""

import pytest
import torch

from worldgen import pipeline
from worldgen.config import compose, one_line_errors
from worldgen.errors import UserError
from worldgen.models.pool import Pool
from worldgen.models.runtime import Runtime, with_runtime
from worldgen.runs.steps_table import STEPS


class Network:
    """Counts what happens to it and to all of its kind."""

    alive = 0
    most_alive = 0

    def __init__(self, name: str, part: "Network | None" = None, takes_along: bool = False) -> None:
        self.name, self.part, self.takes_along = name, part, takes_along
        self.loads = self.releases = 0
        self.loaded = False

    def load(self, runtime: Runtime) -> None:
        assert runtime.batch == 3
        if not self.loaded:
            self.loads += 1
            self.loaded = True
            Network.alive += 1
            Network.most_alive = max(Network.most_alive, Network.alive)

    def release(self) -> None:
        if self.takes_along:
            self.part.release()
        if self.loaded:
            self.releases += 1
            self.loaded = False
            Network.alive -= 1


class Settings:
    """What is no adapter has nothing to load."""

    def __init__(self, rings: list) -> None:
        self.rings = rings


def network(name: str, **parts: object) -> dict:
    return {"_target_": "tests.test_pool.Network", "name": name, **parts}


@pytest.fixture
def pool() -> Pool:
    Network.alive = Network.most_alive = 0
    painter = network("painter")
    groups = {
        "inpainter": painter,
        "depth": network("merged", part=network("depth")),
        "view_depth": network("depth"),
        "completer": network("completer", part=painter, takes_along=True),
        "lift": {"_target_": "tests.test_pool.Settings", "rings": [[0, 8], [-55, 4]]},
    }
    return Pool(groups, Runtime(batch=3))


def test_what_the_config_says_twice_is_one_object(pool):
    assert pool["completer"].part is pool["inpainter"]
    assert pool["depth"].part is pool["view_depth"]
    assert pool["lift"].rings == [[0, 8], [-55, 4]]
    assert len(pool) == 5


def test_adapters_are_loaded_for_their_steps_and_released_after_the_last_one(pool):
    steps = [("inpainter",), ("depth",), ("lift",), ("completer", "inpainter", "view_depth")]
    assert Network.alive == 0
    for number, groups in enumerate(steps):
        pool.load(groups)
        assert all(pool[group].loaded for group in groups if group != "lift")
        pool.release_all_but({group for later in steps[number + 1 :] for group in later})
    assert Network.alive == 0
    assert Network.most_alive == 4  # all at the end: `merged`, which would take the depth along, waits for it
    shared = [pool["inpainter"], pool["view_depth"], pool["depth"], pool["completer"]]
    assert [(one.loads, one.releases) for one in shared] == [(1, 1)] * 4


def test_a_whole_that_would_take_a_part_along_waits_for_it(pool):
    pool.load(("completer",))
    pool.release_all_but(("inpainter",))
    assert pool["inpainter"].loaded
    pool.release_all_but(())
    assert Network.alive == 0


def test_what_is_released_can_be_loaded_again(pool):
    for _ in range(2):
        pool.load(("depth",))
        pool.release_all_but(())
    assert pool["depth"].loads == pool["depth"].releases == 2


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (network("x", other=1), "inpainter: cannot be set up"),
        ({"_target_": "tests.test_pool.Gone"}, "inpainter: cannot be set up"),
        ({"_target_": "worldgen.models.runtime.Runtime", "batch": 0}, "runtime.batch: 0, wanted a whole number"),
        (network("x", part={"_target_": "tests.test_pool.Settings"}), "inpainter.part: cannot be set up"),
    ],
)
def test_what_cannot_be_made_is_named(node, message):
    with pytest.raises(UserError, match=message), one_line_errors():
        Pool({"inpainter": node}, Runtime())


def test_the_runtime_enters_no_steps_config():
    plain, other = (compose("photo.jpg", more) for more in ([], ["runtime.batch=4", "runtime.dtype=float16"]))
    for step in STEPS:
        assert pipeline.config_of(plain, step) == pipeline.config_of(other, step)


@pytest.mark.parametrize(
    "wrong", [{"device": "tpu"}, {"dtype": "int8"}, {"offload": "disk"}, {"batch": 0}, {"batch": 1.5}]
)
def test_a_runtime_that_cannot_be_is_refused(wrong):
    with pytest.raises(UserError, match=f"runtime.{next(iter(wrong))}: .*, wanted"):
        Runtime(**wrong)


def test_what_heeds_the_device_alone_says_so():
    Runtime("cpu").expect_device_alone("a program")
    for name, value in (("dtype", "float16"), ("offload", "model"), ("batch", 4)):
        with pytest.raises(
            UserError, match=rf"^runtime\.{name}: {value}, wanted \w+: a program heeds runtime.device alone"
        ):
            Runtime(**{name: value}).expect_device_alone("a program")


def test_what_has_a_runtime_is_told_of_it():
    class Network:
        runtime = Runtime()

    runtime = Runtime("cpu")
    assert with_runtime(Network(), runtime).runtime is runtime
    assert Network.runtime is not runtime
    assert not hasattr(with_runtime(object(), runtime), "runtime")


def test_a_runtime_tells_torch_where_and_how(monkeypatch):
    assert Runtime("cpu").torch_device == torch.device("cpu")
    assert Runtime("cpu").torch_dtype == torch.float32
    assert Runtime("cpu", "bfloat16").torch_dtype == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Runtime().torch_device.type == "cpu"
    with pytest.raises(UserError, match=r"runtime\.device: cuda, wanted cpu or auto"):
        _ = Runtime("cuda").torch_device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert Runtime().torch_device.type == "cuda"
    assert Runtime().torch_dtype == torch.float16
