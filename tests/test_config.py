"""Configs: every choice composes, defaults fit together, mistakes end in one line that helps."""

import pytest
from omegaconf import OmegaConf

from worldgen import config as configs
from worldgen.config import CONF_DIR, check, choice, choices, compose, compose_program, finish, groups
from worldgen.errors import UserError

GROUPS = groups()


@pytest.mark.parametrize("column", range(max(map(len, GROUPS.values()))))
def test_every_choice_composes(column):
    """Those of several groups together, which takes a sixth of the time; Hydra names the one that it cannot read."""
    chosen = [f"{group}={names[column]}" for group, names in GROUPS.items() if column < len(names)]
    config = compose("photo.jpg", chosen)
    assert not OmegaConf.missing_keys(config)


def test_groups_are_the_folders_beside_the_config():
    assert {"adhoc", "anchored", "sequential"} <= set(groups()["panorama"])
    assert "hydra" not in groups()


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A small conf/ of its own, whose choices are built on a base."""
    (tmp_path / "tone").mkdir()
    (tmp_path / "config.yaml").write_text("defaults:\n  - tone: warm\n  - _self_\n")
    (tmp_path / "tone" / "_base.yaml").write_text("gain: 1\nlift: 0\n")
    for name, gain in (("warm", 2), ("cold", 3)):
        (tmp_path / "tone" / f"{name}.yaml").write_text(f"defaults:\n  - _base\n  - _self_\ngain: {gain}\n")
    monkeypatch.setattr(configs, "CONF_DIR", tmp_path)
    return tmp_path


def test_what_choices_are_built_on_is_no_choice(conf):
    assert groups() == {"tone": ["cold", "warm"]}
    check(["tone=cold"])
    with pytest.raises(UserError, match=r"tone=_base: no such choice, wanted one of cold, warm$"):
        check(["tone=_base"])


def test_a_choice_says_what_its_base_says_and_changes(conf):
    assert choice("tone", "cold") == {"gain": 3, "lift": 0}
    assert "defaults" not in choice("tone", "cold")
    with pytest.raises(UserError, match=r"tone=hot: no such choice, wanted one of cold, warm$"):
        choice("tone", "hot")


@pytest.mark.parametrize(
    ("root", "group"),
    [pytest.param("eval", "protocol", marks=pytest.mark.slow), ("train", "correction"), ("train", "density")],
)
def test_a_choice_by_itself_is_what_a_program_composes_of_it(root, group):
    for name in choices(group):
        config = compose_program(root, [f"{group}={name}"])
        whole = config[group] if group in config else config.splat[group]
        assert choice(group, name) == whole


def test_the_run_folder_has_the_photos_name():
    assert compose("some/where/garden party (1).jpg").out == "runs/garden party (1)"
    assert compose("photo.jpg", out="elsewhere").out == "elsewhere"
    assert compose(None, ["image=photo.jpg", "out=elsewhere"]).out == "elsewhere"


def test_a_home_folder_is_meant_by_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = compose("~/photo.jpg", out="~/worlds")
    assert (config.image, config.out) == ("/home/ada/photo.jpg", "/home/ada/worlds")


def test_the_runs_of_a_sweep_lie_side_by_side():
    config = compose("photo.jpg", out="worlds")
    assert finish(config, "panorama=adhoc").out == "worlds/photo-panorama=adhoc"
    config.out = None
    assert finish(config, "panorama=adhoc").out == "runs/photo-panorama=adhoc"


def test_overrides_change_values_and_choices():
    config = compose("photo.jpg", ["panorama=sequential", "panorama.width=1024", "seed=3", "fov_deg=70"])
    assert config.panorama.heuristic == "sequential"
    assert (config.panorama.width, config.seed, config.fov_deg) == (1024, 3, 70.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("panoramma=adhoc", "panoramma: no such key, did you mean panorama?"),
        ("panorama.widht=1024", "panorama.widht: no such key, did you mean panorama.width?"),
        ("width=1024", "width: no such key, did you mean panorama.width"),
        ("+panorama.colour=red", "panorama.colour: no such key"),
        ("qwertz=1", "qwertz: no such key; python -m worldgen --cfg job lists them all"),
        ("panorama=spiral", "panorama=spiral: no such choice, wanted one of adhoc, anchored, auto, given, native, seq"),
        ("splat=null", "splat=null: no such choice, wanted one of default"),
        ("splat=[default]", "no such choice, wanted one of default"),
        ("~splat", "~splat: keys cannot be taken away"),
        ("~seed", "~seed: keys cannot be taken away, wanted seed=<value>"),
        ("panorama.width=wide", "panorama.width: 'wide', wanted a number (as 2048)"),
        ("quiet=maybe", "quiet: 'maybe', wanted true or false (as False)"),
        ("export.video=8", "export.video: 8, wanted a group of keys"),
        ("panorama.width", "panorama.width: cannot be read, wanted key=value"),
        ("panorama=(", "panorama=(: cannot be read, wanted key=value"),
        ("panorama=adhoc,anchored", "panorama=adhoc,anchored: several values; -m makes a run of each"),
        ("seed=-1", "seed: -1, wanted a whole number from 0"),
        ("seed=1.5", "seed: 1.5, wanted a whole number from 0"),
        ("fov_deg=0", "fov_deg: 0, wanted more than 10 and less than 150 degrees"),
        ("fov_deg=200", "fov_deg: 200, wanted more than 10 and less than 150 degrees"),
        ("panorama.width=${nowhere}", "Interpolation key 'nowhere' not found"),
    ],
)
def test_mistakes_are_named_in_one_line(override, message):
    with pytest.raises(UserError) as caught:
        compose("photo.jpg", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_photo_one_is_asked_for():
    with pytest.raises(UserError, match="image: missing"):
        compose(None)


def test_each_value_of_a_sweep_is_checked():
    check(["panorama=adhoc,anchored", "seed=range(0,3)", "image=a.jpg,b.jpg"], sweep=True)
    with pytest.raises(UserError, match="panorama=spiral: no such choice"):
        check(["panorama=adhoc,spiral"], sweep=True)
    with pytest.raises(UserError, match="seed: 'b', wanted a number"):
        check(["seed=1,b"], sweep=True)


def test_composing_works_within_a_program_that_uses_hydra_itself(tmp_path):
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "mine.yaml").write_text("a: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        compose("photo.jpg")
        assert hydra.compose("mine").a == 1
    assert not GlobalHydra.instance().is_initialized()


def test_every_key_is_explained():
    for path in sorted(CONF_DIR.rglob("*.yaml")):
        assert "#" in path.read_text(encoding="utf-8"), f"{path} says nothing about itself"
