"""The gallery: what differs is told, what is the same is not, links lead into the runs, strangers are named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.small_world import write_run
from worldgen import gallery
from worldgen.present.gallery_page import shown_world
from worldgen.runs.differing import differing_keys


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs that differ in one setting, the second not exported yet, and a stranger."""
    root = tmp_path_factory.mktemp("some runs")
    write_run(root / "a<b>", "one & only.jpg")
    shutil.copytree(root / "a<b>", root / "c")
    manifest = json.loads((root / "c" / "manifest.json").read_text())
    manifest["steps"]["splat"]["config"] = {"splat": {"_target_": "x.Other", "a": "another", "steps": 5}}
    (root / "c" / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(root / "c" / "export")
    (root / "c" / "signatures.json").write_text('{"figures": {"haze": 1.25}, "not_measured": {}}')
    (root / "stranger").mkdir()
    return root


def test_only_what_differs_is_told(runs):
    worlds = [shown_world(runs / name) for name in ("a<b>", "c")]
    assert differing_keys(world.settings for world in worlds) == ["splat.a"]  # what one alone has is no difference
    assert worlds[1].settings["splat"] == "Other"
    assert differing_keys([worlds[0].settings]) == []


def test_page_shows_every_run_and_leads_into_it(runs, capsys):
    assert gallery.main([str(path) for path in sorted(runs.iterdir()) if path.is_dir()]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == f"{runs.resolve() / 'gallery.html'}: 2 worlds"
    assert "left out" in said.err
    assert "stranger" in said.err
    page = (runs / "gallery.html").read_text()
    assert page.count("<article") == page.count("data:image/jpeg") == 2
    assert "a&lt;b&gt;" in page
    assert "one &amp; only.jpg" in page
    assert "Left out, being no runs: 1." in page
    links = [re.sub("&lt;", "<", link).replace("&gt;", ">") for link in re.findall('href="([^"]+)"', page)]
    assert "a<b>/export/world.html" in links
    assert all((runs / link).is_file() for link in links)
    assert "haze" in page
    assert "not finished" in page
    assert not re.findall("https?://", page)


def test_a_page_that_cannot_be_written_leaves_nothing(runs, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    assert gallery.main([str(runs / "c"), "--out", str(tmp_path / "taken")]) == 2
    assert "taken: cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_links_start_where_the_page_lies(runs, tmp_path):
    path, count = gallery.write_gallery([runs / "a<b>"], tmp_path / "page.html")
    (first, *_) = re.findall('href="([^"]+)"', path.read_text())
    assert count == 1
    assert (tmp_path / first.replace("&lt;", "<").replace("&gt;", ">")).resolve().is_file()


def test_no_run_at_all_is_one_line(tmp_path, capsys):
    assert gallery.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {tmp_path}: no run folder, wanted one at least"
