"""The page that sets runs side by side: whole in one file, honest about what it leaves out, safe from names."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from eval.benchmarks.compare import make_sweep
from eval.compare import page
from eval.compare.cli import main
from eval.compare.compared import ComparedRun, from_folder
from eval.compare.comparison import Comparison
from eval.compare.page import page_of
from eval.compare.run_pictures import SIZE, data_uris

COUNT = 12
TRICKY = '</script><b id="tricky">&"quoted"'


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A sweep whose first run has a report."""
    folder = make_sweep(tmp_path_factory.mktemp("made") / "my sweep", COUNT, 128)
    (folder / "photo00-panorama=anchored-seed=0" / "report.html").touch()
    return folder


@pytest.fixture(scope="module")
def html(made) -> str:
    out = made.parent / "pages" / "page.html"
    assert main([str(made), "by=panorama", "baseline=anchored", "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])


def test_every_run_is_on_it_with_settings_figures_and_picture(html):
    data = data_of(html)
    assert len(data["runs"]) == COUNT
    first = next(run for run in data["runs"] if run["name"] == "photo00-panorama=anchored-seed=0")
    assert first["values"]["panorama.heuristic"] == "anchored"
    assert first["values"]["seed"] == 0
    assert first["values"]["niqe"] == pytest.approx(5.25, abs=1.2)
    assert first["picture"].startswith("data:image/jpeg;base64,")
    kinds = {column["name"]: (column["kind"], column["numeric"], column["better"]) for column in data["columns"]}
    assert kinds["panorama.heuristic"] == ("setting", False, None)
    assert kinds["niqe"] == ("figure", True, "lower")
    assert kinds["PSNR (dB)"] == ("figure", True, "higher")
    stopped = next(run for run in data["runs"] if not run["finished"])
    assert stopped["state"] == "stopped in splat"
    assert "PSNR (dB)" not in stopped["values"]


def test_links_lead_to_reports_from_where_the_page_lies(html, made):
    links = [run["link"] for run in data_of(html)["runs"] if run["link"]]
    assert len(links) == 1
    assert (
        (made.parent / "pages" / unquote(links[0]))
        .resolve()
        .samefile(made / "photo00-panorama=anchored-seed=0" / "report.html")
    )


def test_it_carries_all_that_it_needs(html):
    assert "plotly.js v" in html
    own = re.sub(r"<script>/\*\*.*?</script>", "", html, flags=re.DOTALL)  # without plotly.js
    assert len(own) < len(html) / 4
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", own)


def test_groups_and_notes_stand_on_it(html):
    own = html[: html.index("<script")]
    assert own.count("<tr>") == 4
    assert re.search(r'class="n best" data-v="[\d.]+">[\d.]+ ± [\d.]+ \(2\)', own)
    assert 'class="difference' in own
    assert "not finished: photo01-panorama=anchored-seed=1: stopped in splat" in own


def test_groups_come_by_themselves_where_runs_share_settings(made):
    runs = [from_folder(path.parent) for path in sorted(made.glob("*/manifest.json"))]
    assert "<h2>By panorama</h2>" in page_of(Comparison(tuple(runs)), made)
    assert "<h2>By" not in page_of(Comparison(tuple(runs[:1])), made)


def test_names_are_text(tmp_path):
    runs = tuple(ComparedRun(f"{TRICKY}{n}", TRICKY, TRICKY, {TRICKY: TRICKY + str(n)}, {"fov": 1.0}) for n in (1, 2))
    html = page_of(Comparison(runs), tmp_path)
    assert '<b id="tricky">' not in html
    assert data_of(html)["runs"][0]["name"] == f"{TRICKY}1"


def test_pictures_are_small_kept_and_no_loss_when_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path / "cache"))
    runs = [ComparedRun(name, "", "", folder=tmp_path / name) for name in ("whole", "half", "none", "tall")]
    for run, size in zip(runs, ((640, 320), (640, 320), None, (40, 400)), strict=True):
        run.folder.mkdir()
        if size:
            Image.effect_noise(size, 50).save(run.folder / "panorama.png")
    broken = runs[1].folder / "panorama.png"
    broken.write_bytes(broken.read_bytes()[:1000])
    first = data_uris(runs)
    assert list(first) == [runs[0], runs[3]]
    kept = sorted((tmp_path / "cache" / "run_pictures").iterdir())
    assert len(kept) == 2
    sizes = [Image.open(path).size for path in kept]
    assert all(width <= SIZE[0] and height <= SIZE[1] for width, height in sizes)
    assert data_uris(runs) == first
    kept[0].unlink()
    assert data_uris(runs) == first


def test_without_plotly_one_line_says_what_to_install(made, capsys, monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    out = made.parent / "without.html"
    assert main([str(made), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"error: --out {out}: the package plotly is not installed, wanted pip install 'worldgen[compare]'\n"
    )
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_browser_draws_it(html, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = ["chromium", *options, "--virtual-time-budget=15000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    drawn = done.stdout[: done.stdout.index('<script type="application/json"')]
    assert drawn.count("<tr") == 4 + 1 + COUNT
    assert len(re.findall('class="point[ "]', drawn)) == COUNT
    assert "parcoords" in drawn
    assert "2 runs of" in drawn or "1 run of" in drawn
