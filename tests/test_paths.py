"""Paths as people write them: whatever signs are in a name, in every key that takes one, in every program."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from worldgen.config import CONF_DIR, compose, compose_program, instantiate
from worldgen.errors import UserError
from worldgen.paths import KEYS, as_override, literal, quote, resolve, user_path

NAMES = ["naïve (1), x=[2] {y}", 'it\'s "here"\\', "\\${seed} $HOME", "caf\udce9...", "7"]
SIGNS = st.text(st.sampled_from("${}\\'\" a,[]()é\udce9=~:#?\n-."), min_size=1, max_size=12)


@given(SIGNS)
def test_hydra_and_omegaconf_give_back_what_is_quoted(text):
    read = OverridesParser.create().parse_override(f"out={quote(text)}").value()
    assert OmegaConf.create({"out": read}).out == text


@given(SIGNS)
def test_text_is_still_itself_where_a_config_was_resolved(text):
    config = OmegaConf.create({"a": {"b": literal(text), "c": [literal(text)]}, "seed": 3, "d": "${seed}"})
    for _ in range(2):
        resolve(config)
        assert (config.a.b, config.a.c[0], config.d) == (text, text, 3)


@pytest.mark.parametrize("name", [*NAMES[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[2:])])
def test_every_program_takes_a_path_as_it_stands(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = compose(None, [f"image={name}/photo.jpg", f"out={name}"])
    assert (config.image, config.out) == (f"{name}/photo.jpg", name)
    assert compose(f"{name}/photo.jpg", out=name) == config
    config = compose_program("train", [f"scene.views={name}", f"scene.points={name}", f"out={name}"])
    assert (config.scene.views, config.scene.points, config.out) == (name, name, name)
    scene = instantiate(config.scene)
    assert (scene.views, scene.points) == (name, name)
    keys = ("runs", "out", "protocol.truth", "protocol.photos", "metric.clip_i.path", "metric.fid.path")
    config = compose_program("eval", ["protocol=truth", *(f"{key}={name}" for key in keys)])
    assert [OmegaConf.select(config, key) for key in keys] == [name] * len(keys)
    assert instantiate(config.protocol).truth == name


def test_none_of_them_is_null():
    assert compose_program("eval", ["runs=null", "protocol.photos=null"]).runs is None
    assert as_override("seed=a b") == "seed=a b"


def test_frames_may_be_a_list_unless_a_folder_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_override("frames=[a,b]") == "frames=[a,b]"
    (tmp_path / "[a,b]").mkdir()
    assert as_override("frames=[a,b]") == "frames='[a,b]'"


def test_every_key_that_its_config_calls_a_path_is_taken_as_one():
    """A key of conf/ whose comment speaks of a file or folder as its value."""
    telling = re.compile(
        r"\b(a|the|our own)\b( \w+)? (folders?|\.ply|photo|file weights\S+)\b|^folder of", re.IGNORECASE
    )
    found = set()
    for path in CONF_DIR.rglob("*.yaml"):
        place = path.relative_to(CONF_DIR)
        group = "" if len(place.parts) == 1 else f"{place.parts[0]}."
        group = "metric.any." if group == "metric." else group
        for key, value, comment in re.findall(
            r"^(\w+): +(\S+) +# (.*)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if telling.search(comment.partition(";")[0]) and re.match(r"null|\?\?\?|[a-z_]+/", value):
                found.add(f"{group}{key}")
    found -= {"group", "fov_deg"}  # a name, an angle
    unknown = {key for key in found if not any(fnmatchcase(key, pattern) for pattern in KEYS)}
    assert len(found) > 10
    assert unknown == set()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a.jpg,b.jpg", ["a.jpg", "b.jpg"]),
        ("naïve.jpg,b (1).jpg", ["naïve.jpg", "b (1).jpg"]),
        ("x, y.jpg,a.jpg", ["x, y.jpg", "a.jpg"]),
        ("a.jpg,x, y.jpg", ["a.jpg", "x, y.jpg"]),
        ("x, y.jpg", ["x, y.jpg"]),
        ("choice(a.jpg,b.jpg)", ["a.jpg", "b.jpg"]),
        ("'x, y.jpg','b (1).jpg'", ["x, y.jpg", "b (1).jpg"]),
        ("'b (1).jpg'", ["b (1).jpg"]),
        ("${seed}.jpg,a.jpg", ["${seed}.jpg", "a.jpg"]),
        ("choice(1).jpg", ["choice(1).jpg"]),
    ],
)
def test_commas_part_the_paths_of_a_sweep_but_not_names(written, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x, y.jpg").touch()
    read = OverridesParser.create().parse_override(as_override(f"image={written}", several=True))
    values = list(read.sweep_iterator()) if read.is_sweep_override() else [read.value()]
    config = OmegaConf.create({"images": [getattr(value, "text", value) for value in values]})
    assert list(config.images) == meant


def test_the_folder_of_a_sweep_is_one(tmp_path):
    assert as_override("out=a, b", several=True) == "out='a, b'"


def test_a_home_is_meant_where_there_is_one_and_else_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert user_path("~/photo.png") == Path("/home/ada/photo.png")
    with pytest.raises(UserError, match=r"^~photo\.png: no home ~photo\.png is known, wanted a path"):
        user_path("~photo.png")
    Path("~photo.png").touch()
    assert user_path("~photo.png") == Path("~photo.png")
    with pytest.raises(UserError, match=r"^~nobody_here/x: no home ~nobody_here is known"):
        user_path("~nobody_here/x")


def test_a_name_of_dots_is_no_step_up():
    assert compose("photos/...jpg").out == "runs/...jpg"


def test_an_interpolation_of_a_key_that_takes_no_path_still_is_one():
    assert compose("photo.jpg", ["panorama.width=1024", "splat.steps=${panorama.width}"]).splat.steps == 1024
