"""What the doctor finds missing."""

from importlib import metadata

import pytest

from worldgen import doctor
from worldgen.models import assets


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path))


def test_networks_that_are_not_fetched_are_missing(capsys):
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "network migan          MISSING  not fetched yet; python -m worldgen.fetch migan fetches it" in printed
    assert "network fastdepth      MISSING" in printed


def test_nothing_missing_is_said_and_ends_well(monkeypatch, capsys):
    monkeypatch.setattr(assets, "is_intact", lambda asset, path: True)
    monkeypatch.setattr(doctor, "_MEMORY_GB", 0.0)
    monkeypatch.setattr(doctor, "_DISK_GB", 0.0)
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=1", "nothing-real>=1; extra == 'eval'"])
    assert doctor.main([]) == 0
    assert "profile embedded can run here" in capsys.readouterr().out


def test_packages_that_are_absent_or_too_old_are_named(monkeypatch, capsys):
    monkeypatch.setattr(metadata, "requires", lambda name: ["nothing-real", "numpy>=1", "torch>=99"])
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "nothing-real           MISSING  not installed" in printed
    assert "torch>=99 is wanted" in printed
    assert "numpy" not in printed


def test_an_unknown_profile_is_named(capsys):
    assert doctor.main(["grand"]) == 2
    assert "profile=grand: no such choice" in capsys.readouterr().err
