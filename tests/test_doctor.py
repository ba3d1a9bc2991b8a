"""What the doctor finds missing."""

from importlib import metadata

import pytest
from huggingface_hub import constants
from PIL import Image

from tests.fakes import SmoothInpainter
from worldgen import doctor, fetch, pipeline
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.models import assets
from worldgen.models.hub import HubWeights
from worldgen.present.console import Reporter


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


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
    assert "it can run here" in capsys.readouterr().out


def test_packages_that_are_absent_or_too_old_are_named(monkeypatch, capsys):
    monkeypatch.setattr(metadata, "requires", lambda name: ["nothing-real", "numpy>=1", "torch>=99"])
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "nothing-real           MISSING  not installed" in printed
    assert "torch>=99 is wanted" in printed
    assert "numpy" not in printed


def test_an_unknown_profile_is_named(capsys):
    assert doctor.main(["profile=grand"]) == 2
    assert "profile=grand: no such choice" in capsys.readouterr().err


class Far(SmoothInpainter):
    """An inpainter of the hub that is not here."""

    weights = (HubWeights("owner/inpainter", "3 GB", "inpainter"),)

    def unavailable(self):
        return self.weights[0].unavailable()


def test_networks_of_the_hub_that_are_not_here_are_missing(monkeypatch, capsys):
    monkeypatch.setattr(assets, "is_intact", lambda asset, path: True)
    overrides = ["inpainter._target_=tests.test_doctor.Far"]
    assert doctor.main(overrides) == 1
    printed = capsys.readouterr().out
    assert "network owner/inpainter MISSING  owner/inpainter is not in the local hub cache;" in printed
    assert "inpainter.download=true fetches it (3 GB)" in printed
    assert "token of the hub" in printed
    assert fetch.main(["--list", *overrides]) == 0
    assert "owner/inpainter  missing  3 GB" in capsys.readouterr().out
    assert fetch.main(overrides) == 2  # offline
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "needed"), [([], True), (["fov_deg=70"], False)])
def test_a_field_of_view_by_hand_needs_nobody_who_finds_one(more, needed):
    places = {
        place.key
        for adapter in pipeline.networks_of_hub(compose("photo.jpg", ["profile=paper", *more]))
        for place in adapter.weights
    }
    assert ("fov" in places) == needed
    assert {"inpainter", "depth.shape", "view_depth"} <= places


def test_a_run_says_what_is_missing_before_its_first_step(tmp_path):
    photo = tmp_path / "grey.png"
    Image.new("RGB", (128, 96), (90, 120, 150)).save(photo)
    config = compose(None, [f"image={photo}", f"out={tmp_path / 'run'}", "inpainter._target_=tests.test_doctor.Far"])
    with pytest.raises(UserError, match=r"owner/inpainter is not in the local hub cache; inpainter\.download=true"):
        pipeline.run(config, Reporter(quiet=True))
    assert not (tmp_path / "run").exists()
