"""The ablation of the distortion field: its runs are scored and compared as they should be, and drawn."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval import cli
from eval.experiments import distortion_ablation
from eval.experiments.ablation import as_markdown, assess, verdict
from eval.experiments.ablation_pictures import CROP_PX, DPI, PANEL_INCHES, Fits, draw_crops
from eval.protocols.image_views import HeldOutProtocol
from eval.protocols.methods import examine
from eval.scoring.scores import Score, read_scores
from eval.tables.settings import TableSettings
from eval.tables.statistics import Interval
from worldgen.config import compose_program, groups
from worldgen.errors import UserError
from worldgen.runs.artifacts import save_image
from worldgen.runs.folder import RunFolder

SIZE, VIEWS = 64, 2
NOISE = {"none": 0.10, "distortion": 0.05, "bilateral": 0.08, "both": 0.04}
QUICK = ["--only-score", "--metrics", "psnr"]


def view(number: int, seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(100 * seed + number))
    return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")[0]


def write_fit(folder: Path, scene: str, warp_px: float, seed: int, correction: str, noise: float | None = None) -> Path:
    """A run folder as `python -m train.splat` leaves it, with next to nothing in it; the warps make it worse."""
    strength = (NOISE[correction] if noise is None else noise) * (1 + warp_px)
    config = {"scene": {"warp_px": warp_px}, "splat": {"correction": {"name": correction}}, "seed": seed}

    def fit(step: Path) -> None:
        for number in range(VIEWS):
            true = view(number, seed)
            error = torch.randn(true.shape, generator=torch.Generator().manual_seed(number + 7 * seed))
            for name, rgb in (("true", true), ("pred", true + strength * error)):
                (step / "held_out" / name).mkdir(parents=True, exist_ok=True)
                save_image(step / "held_out" / name / f"{number:03}.png", rgb)

    name = f"{scene}-{warp_px:g}px"
    sha256 = hashlib.sha256(f"{name} {seed}".encode()).hexdigest()
    with RunFolder.open(folder / f"scene={name}-seed={seed}-correction={correction}", sha256, name) as run:
        run.step("splat", config, (), fit)
    return run.root


def write_sweep(folder: Path, corrections=tuple(NOISE), strengths=(0.0, 0.5), seeds=(0, 1), scenes=("room",)) -> Path:
    for scene in scenes:
        for warp_px in strengths:
            for seed in seeds:
                for correction in corrections:
                    write_fit(folder, scene, warp_px, seed, correction)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eval.scoring.cache.cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # one process: no start of others
    return tmp_path


@pytest.fixture(scope="module")
def few_fits(tmp_path_factory) -> Path:
    """Folders without fits, with one, and with two."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "empty").mkdir()
    write_sweep(folder / "one", corrections=("none",), strengths=(2,), seeds=(0,))
    write_sweep(folder / "two", corrections=("none", "both"), strengths=(2,), seeds=(0,))
    for seed, correction in enumerate(("none", "both")):
        write_fit(folder / "apart", "room", 2, seed, correction)
    return folder


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_held_out_views_stand_beside_the_true_ones(tmp_path):
    run = write_fit(tmp_path, "room", 2, 3, "both")
    protocol = HeldOutProtocol(name="held_out", metrics=("psnr",))
    pictures = protocol.pictures("both", run)
    assert [(picture.image, picture.view) for picture in pictures] == [("room-2px", "000"), ("room-2px", "001")]
    for number, picture in enumerate(pictures):
        assert (picture.truth.load() - view(number, 3)).abs().max() < 1 / 255
        assert 0.02 < (picture.rgb.load() - picture.truth.load()).abs().mean() < 0.2


def test_a_fit_that_cannot_be_compared_fails_whole(tmp_path):
    runs = {seed: write_fit(tmp_path, "room", 2, seed, "both") for seed in range(5)}
    (runs[1] / "splat" / "held_out" / "pred" / "001.png").unlink()
    Image.new("RGB", (80, 80)).save(runs[2] / "splat" / "held_out" / "true" / "000.png")
    (runs[3] / "splat" / "held_out").rename(runs[3] / "elsewhere")
    manifest = json.loads((runs[4] / "manifest.json").read_text())
    (runs[4] / "manifest.json").write_text(json.dumps(manifest | {"steps": {}}))
    found = HeldOutProtocol(name="held_out", metrics=("psnr",)).collect(examine("ours", tmp_path)).output
    assert [item.path for item in found.items] == [runs[0]]
    whys = {name.split("-")[2]: why for name, why in found.failed.items()}
    assert whys == {
        "seed=1": "splat/held_out: 001: a true view, but none of the method's",
        "seed=2": f"splat/held_out: 000: {SIZE}x{SIZE} pixels, but its true view has 80x80",
        "seed=3": "no splat/held_out: its scene holds no views out",
        "seed=4": "no finished splat step, and no log.txt that says why",
    }


def test_only_run_folders_have_held_out_views(tmp_path):
    save_image(tmp_path / "a.png", view(0, 0))
    with pytest.raises(UserError, match="holds images, wanted run folders"):
        HeldOutProtocol(name="held_out", metrics=("psnr",)).pictures("a", tmp_path)


@pytest.mark.slow
def test_the_ordinary_command_makes_its_table(here, capsys):
    write_sweep(here / "runs" / "distortion_ablation", strengths=(2,))
    assert cli.main(["table=distortion_ablation", "metrics=[psnr]", "processes=1", "quiet=true"]) == 0
    out = capsys.readouterr().out
    means = json.loads(out.splitlines()[-1])["means"]
    assert sorted(means, key=lambda method: means[method]["psnr"]) == ["none", "bilateral", "distortion", "both"]
    assert "41.09" in out
    assert "distortion minus none, paired: PSNR +" in out


def test_one_table_for_each_strength_and_what_the_claim_is_about(here, capsys):
    write_sweep(here / "fits", scenes=("room", "panorama"))
    assert distortion_ablation.main([*QUICK, "--runs", "fits", "--out", "scores"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out.strip().splitlines()[-1])["warp_px"]
    assert list(found) == ["0", "0.5"]
    values = {(row.method, row.image, row.view): row.value for row in read_scores(here / "scores")}
    assert len(values) == 4 * 2 * 2 * 2 * VIEWS
    for strength, worse_db in (("0", 0.0), ("0.5", 3.5)):
        psnr_db = {method: metrics["psnr"]["mean"] for method, metrics in found[strength]["methods"].items()}
        mine = [value for (method, _, _), value in values.items() if method == "none"]
        assert min(mine) <= psnr_db["none"] <= max(mine)
        assert psnr_db["none"] == pytest.approx(20 - worse_db, abs=1.0)
        assert found[strength]["methods"]["none"]["psnr"]["count"] == 4
        for pair in ("distortion - none", "both - bilateral"):
            first, second = pair.split(" - ")
            told = found[strength]["differences"][pair]["psnr"]
            assert told["verdict"] == "better"
            assert told["mean"] == pytest.approx(psnr_db[first] - psnr_db[second], abs=1e-5)
            assert 0 < told["low"] <= told["mean"] <= told["high"]
    assert out.count("views warped by") == 2
    assert out.count("distortion minus none, paired over 4 images: PSNR +") == 2
    assert out.count("Paper: arXiv") == 1
    names = {path.name for path in (here / "scores").iterdir()}
    tables = {f"table-{px}px.{suffix}" for px in ("0", "0.5") for suffix in ("md", "csv", "json", "tex")}
    pictures = {"curve.png", "crops.png"}
    assert names == {".lock", "scores.csv", "evaluation.json", "distortion_ablation.md", *tables, *pictures}
    with Image.open(here / "scores" / "curve.png") as curve:
        assert curve.size == (round(PANEL_INCHES[0] * DPI), round((2 * PANEL_INCHES[1] + 0.4) * DPI))
    with Image.open(here / "scores" / "crops.png") as crops:
        assert crops.width > 4 * 2 * SIZE
        assert crops.height > 2 * 2 * SIZE


def test_no_two_fits_of_one_scene_by_one_correction(here, capsys):
    write_sweep(here / "fits", strengths=(2,), seeds=(0,))
    (here / "fits" / "scene=room-2px-seed=0-correction=none").rename(here / "fits" / "older")
    write_fit(here / "fits", "room", 2, 0, "none")
    assert distortion_ablation.main([*QUICK, "--runs", "fits", "--out", "scores"]) == 2
    err = capsys.readouterr().err
    assert "fits: older and scene=room-2px-seed=0-correction=none are two fits of one scene" in err
    assert err.count("\n") == 1
    assert not (here / "scores").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (QUICK, "runs/distortion_ablation: no fits there, wanted some"),
        ([*QUICK, "--runs", "one"], "one: holds finished fits with none alone, wanted some with two values of"),
        ([*QUICK, "--runs", "empty"], "empty: no fits there, wanted some"),
        ([*QUICK, "--runs", "apart"], "apart: no scene was fitted with the same seed by all corrections"),
        ([*QUICK, "--runs", "one", "seed=3"], "seed=3: changes fits, of which --only-score makes none"),
        (["--only-score", "--metrics", "psnr,nice"], "--metrics: nice, wanted some of brisque"),
        ([*QUICK, "--runs", "two", "--crops-px", "3"], "--crops-px: 3, wanted one of 2"),
        (["out=there"], "out=there: not to be set here; --runs=<folder> says where the fits go"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(few_fits, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(few_fits)
    assert distortion_ablation.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not (few_fits / "evaluations").exists()


def test_the_fits_are_asked_for_as_the_experiment(here, monkeypatch, capsys):
    commands = []

    def run(command, **_):
        commands.append(command)
        write_sweep(here / "some fits", corrections=("none", "distortion"), strengths=(2,))
        return type("Done", (), {"returncode": len(commands) - 1})

    monkeypatch.setattr("subprocess.run", run)
    arguments = ["seed=0,1", "--runs", "some fits", "--metrics", "psnr", "scene.warp_px=2"]
    assert distortion_ablation.main(arguments) == 0
    assert commands[0][1:] == [
        *("-m", "train.splat", "-m", "experiment=distortion_ablation", "out='some fits'"),
        *("seed=0,1", "scene.warp_px=2"),
    ]
    assert list(last_line(capsys)["warp_px"]["2"]["differences"]) == ["distortion - none"]
    assert distortion_ablation.main(arguments) == 2
    assert "the fits ended with status 1; the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "better", "expected"),
    [
        (0.1, 0.3, "higher", "better"),
        (0.1, 0.3, "lower", "worse"),
        (-0.3, -0.1, "higher", "worse"),
        (-0.3, -0.1, "lower", "better"),
        (-0.1, 0.3, "higher", "within chance"),
        (0.0, 0.3, "lower", "within chance"),
        (float("nan"), float("nan"), "lower", "unknown"),
    ],
)
def test_verdicts_know_which_way_is_better(low, high, better, expected):
    assert verdict(Interval((low + high) / 2, low, high, 6), better) == expected


def test_what_is_told_of_each_strength_stands_below_its_own_table():
    settings = TableSettings(
        name="small",
        title="Small",
        source="arXiv 0",
        protocol="held_out",
        scores="scores",
        columns={"niqe": {"label": "NIQE", "better": "lower"}},
        rows={"none": {"label": "none"}, "distortion": {"label": "the field"}},
        baseline="none",
    )
    rows = [
        Score(method, f"room-seed{seed}", "000", "niqe", value + seed)
        for method, value in (("none", 6.0), ("distortion", 5.0))
        for seed in (0, 1)
    ]
    truths = [Score("true views", "room-seed0", "000", "niqe", 4.0)]
    text = as_markdown([assess(settings, warp_px, rows, truths, {}) for warp_px in (0, 1)])
    first, second = text.split("**Small: views warped by 1 px**")
    line = "- the field minus none, paired over 2 images: NIQE -1.00 [-1.00, -1.00] better."
    assert line in first
    assert line in second
    assert text.count("minus none") == 2  # the table's own lines of differences are left out
    assert text.count("- The true views themselves: NIQE 4.00.") == 2
    assert "95% interval" not in first
    assert "95% interval" in second


def test_crops_are_taken_where_two_corrections_differ_most(tmp_path):
    true = torch.full((3, 300, 300), 0.5)
    second = true.clone()
    second[:, 200:300, 8:72] = 1.0
    for name, rgb in (("none", true), ("distortion", second)):
        for part, pixels in (("pred", rgb), ("true", true)):
            (tmp_path / name / part).mkdir(parents=True)
            save_image(tmp_path / name / part / "000.png", true)
            save_image(tmp_path / name / part / "001.png", pixels)
    draw_crops(tmp_path / "crops.png", [Fits("room", {name: tmp_path / name for name in ("none", "distortion")})])
    with Image.open(tmp_path / "crops.png") as sheet:
        pixels = torch.from_numpy(np.array(sheet)).float()
    whole_square = (pixels[..., 0] == 255) & (pixels[..., 1] == 255)
    side = 2 * CROP_PX
    last = whole_square[:, -side - 10 : -10]
    assert int((last.sum(dim=1) == 2 * 64).sum()) == 2 * 100  # all of what differs is in the last crop, twice as large


def test_the_experiment_is_the_fits_and_varies_the_correction_fastest():
    assert "distortion_ablation" in groups("train")["experiment"]
    assert "distortion_ablation" not in groups()["experiment"]
    config = compose_program("train", ["experiment=distortion_ablation", "splat.steps=7"])
    assert config.splat.evaluate_every == config.splat.steps == 7
    assert config.splat.correction.name == "none"
    assert not config.splat.density.enabled
