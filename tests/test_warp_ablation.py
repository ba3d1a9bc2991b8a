"""What the ablation of warps says of views whose scores are known, and what it paints with networks that are tiny."""

import json
import math
from dataclasses import replace

import pytest
import torch

from eval.experiments import warp_ablation
from eval.experiments.painted_views import PaintedView, Painter, load_rows, painted_views, save_rows
from eval.experiments.warp_results import as_json, as_markdown, compare
from worldgen.errors import UserError


def row(method: str, trained: int, scene: str, psnr: float, baseline: float = 0.1, **changes) -> PaintedView:
    plain = PaintedView(method, trained, "exact", scene, 0, baseline, 0.5, psnr, psnr - 3, psnr + 3, psnr + 1)
    return replace(plain, **changes)


def rows(ahead: float, noise: float) -> list[PaintedView]:
    """Four scenes, two trainings each; forward-backward is ahead by that much."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for scene in range(4):
        for trained in range(2):
            off = float(torch.randn((), generator=generator)) * noise
            found.append(row("forward", trained, f"room-{scene}", 15.0 + scene * 0.1))
            found.append(row("forward_backward", trained, f"room-{scene}", 15.0 + scene * 0.1 + ahead + off))
    return found


def test_scenes_are_what_was_drawn_and_trainings_are_told_apart():
    whole = next(each for each in compare(rows(2.0, 0.01)) if (each.baselines, each.figure) == ("all", "psnr"))
    assert whole.methods["forward"].count == 4
    assert whole.methods["forward"].mean == pytest.approx(15.15)
    assert whole.difference.mean == pytest.approx(2.0, abs=0.03)
    assert whole.difference.low > 1.9
    assert {*whole.of_trainings} == {0, 1}
    assert whole.between_trainings.count == 2
    assert whole.apart


def test_what_is_within_chance_is_not_called_apart():
    whole = next(each for each in compare(rows(0.02, 0.5)) if (each.baselines, each.figure) == ("all", "psnr"))
    assert whole.difference.low < 0 < whole.difference.high
    assert not whole.apart
    assert "**apart**" not in as_markdown([whole])


def test_ranges_of_baselines_hold_their_own_views_and_parts_that_are_not_there_count_for_nothing():
    near, far = row("forward", 0, "a", 20.0, 0.1), row("forward", 0, "b", 10.0, 0.4)
    whole_known = row("forward", 0, "c", 30.0, 0.1, in_holes=math.nan)
    found = {(each.baselines, each.figure): each for each in compare([near, far, whole_known])}
    assert found["0 to 0.15", "psnr"].methods["forward"].mean == 25
    assert found["0.3 and more", "psnr"].methods["forward"].mean == 10
    assert found["0 to 0.15", "in_holes"].methods["forward"].count == 1
    assert ("0.15 to 0.3", "psnr") not in found
    told = as_json(list(found.values()))
    assert json.dumps(told, allow_nan=False)
    assert told["exact"]["all"]["psnr"]["difference"] is None


def test_rows_come_back_from_their_file_and_another_file_is_refused(tmp_path):
    path = tmp_path / "views.csv"
    kept = rows(1.0, 0.1)
    save_rows(path, kept)
    assert load_rows(path) == kept
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"views\.csv: not of painted views, wanted the columns method"):
        load_rows(path)


def test_painters_start_from_the_same_noise_and_are_scored_as_they_painted(inpainter):
    from tests.controlnet_training import data

    samples = [data(warp="forward")(3)[number] for number in range(3)]
    painters = [Painter("forward", 0), Painter("forward_backward", 1)]
    scored, pictures = painted_views(inpainter("sd"), painters, {"exact": samples}, 2)
    assert len(scored) == 6
    for sample in samples:
        first, second = (pictures[p.method, p.trained, "exact", sample.number] for p in painters)
        assert torch.equal(first, second)
        mine = next(each for each in scored if each.number == sample.number)
        error = (first - sample.rgb).square()
        assert mine.psnr == pytest.approx(-10 * math.log10(error.mean()), abs=1e-3)
        assert mine.in_known == pytest.approx(-10 * math.log10(error[:, sample.known].mean()), abs=1e-3)
        kept = torch.where(sample.known, sample.condition, first)
        assert mine.put_back == pytest.approx(-10 * math.log10((kept - sample.rgb).square().mean()), abs=1e-3)


def test_another_inpainter_paints_the_same_views_from_the_same_points(inpainter):
    from tests.controlnet_training import data

    sample = data(warp="forward")(1)[0]

    def grey(rgb, known, prompts, seeds):
        assert torch.equal(rgb[0], sample.condition)
        assert torch.equal(known[0], sample.known.float())
        assert len(prompts) == len(seeds) == 1
        return torch.full_like(rgb, 0.5)

    painters = [Painter("alone", 0), Painter("grey", 0, instead=grey)]
    _, pictures = painted_views(inpainter("sd"), painters, {"exact": [sample]}, 2)
    assert bool((pictures["grey", 0, "exact", sample.number] == 0.5).all())
    assert not torch.equal(*pictures.values())


def test_trainings_of_one_warp_alone_are_nothing_to_compare(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    status = warp_ablation.main(["--only-score", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert status == 2
    assert "trainings by nothing, wanted both warps" in capsys.readouterr().err


def test_given_controlnets_paint_views_that_are_scored_and_compared(checkpoints, tmp_path, capsys):
    from eval.experiments import conditioning
    from tests.tiny_diffusion import save_controlnet

    folders = [save_controlnet(tmp_path / name, checkpoints["sd"]) for name in ("forward", "forward_backward")]
    out = tmp_path / "out"
    earlier = out / "forward-0" / "pred" / "of-an-earlier-run.png"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    arguments = [
        *(f"methods.{folder.name}={folder}" for folder in folders),
        *("inpainter=sd15", f"inpainter.path={checkpoints['sd']}", "inpainter.steps=2"),
        *("data=room", "data.size=64", "data.scenes.views=40", "data.max_angle_deg=60"),
        *("--views", "3", "--batch", "3", "--out", str(out)),
    ]
    assert conditioning.main(arguments) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    whole = told["situations"]["views"]["all"]["psnr"]
    assert {*whole["methods"]} == {"no ControlNet", "forward", "forward_backward"}
    assert whole["difference"]["mean"] == pytest.approx(0, abs=1e-6)  # two copies of one network
    assert len(load_rows(out / "views.csv")) == 9
    assert len(list((out / "forward-0" / "pred").glob("*.png"))) == 3
    assert (out / "samples.png").is_file()
    assert "forward warp" in (out / "table.md").read_text()
    assert conditioning.main([*arguments, "--views", "many"]) == 2
    assert "many" in capsys.readouterr().err
    assert conditioning.main([*arguments, "--beside", "magic"]) == 2
    assert "inpainter=magic: no such choice, wanted one of" in capsys.readouterr().err
    assert conditioning.main(["data=room"]) == 2
    assert "methods: none, wanted methods.<name>=" in capsys.readouterr().err
