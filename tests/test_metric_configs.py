"""conf/metric: every file makes the metric that it is named after, and a missing weight is told without waiting."""

import inspect
import pickle
import time
from functools import cache
from typing import get_args

import hydra
import pytest
import torch
from huggingface_hub import constants

from eval.metrics.base import Needs
from worldgen.config import choice, choices

METRICS = choices("metric")
SET_METRICS = {"fid", "kid"}


@cache
def large() -> set[str]:
    """Those whose networks the hub has."""
    return {name for name in METRICS if "download" in choice("metric", name)}


def test_the_large_networks_are_known():
    qalign = {f"{model}_{task}" for model in ("qalign", "qrealign") for task in ("quality", "aesthetic")}
    assert qalign | {"clip_i", "clip_t"} | SET_METRICS == large()


@pytest.fixture(params=METRICS)
def metric(request, monkeypatch, tmp_path):
    """As set up where neither the hub's nor torch's cache holds anything."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    made = hydra.utils.instantiate(choice("metric", request.param))
    assert made.name == request.param
    return made


def test_it_is_what_a_metric_is(metric):
    assert metric.better in ("lower", "higher")
    assert callable(metric.unavailable)
    if metric.name in SET_METRICS:
        assert callable(metric.features)
        assert callable(metric.distance)
    else:
        assert metric.needs in get_args(Needs)
        assert metric.across_processes == (metric.name not in large())
    assert pickle.loads(pickle.dumps(metric)).name == metric.name


def test_it_says_at_once_what_is_missing(metric):
    if metric.name in large():
        began = time.monotonic()
        reason = metric.unavailable()
        assert time.monotonic() - began < 20  # far below what a hub that is asked and silent costs
        assert f"metric.{metric.name}.download=true" in reason
        assert f"metric.{metric.name}.path=" in reason
        assert "\n" not in reason
    assert all(isinstance(value, str) and value for value in metric.versions().values())


@pytest.mark.parametrize("name", METRICS)
def test_every_setting_is_a_key(name):
    """What the class takes and the file leaves out cannot be found by a person who reads conf/."""
    config = choice("metric", name)
    settings = set(inspect.signature(hydra.utils.get_class(config._target_)).parameters)
    elsewhere = {"features"} | ({"size"} if config.get("model") == "qalign" else set())  # for tests; of Q-ReAlign alone
    assert settings - elsewhere == set(config) - {"_target_"}
