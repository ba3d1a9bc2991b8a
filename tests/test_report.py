"""The report: made from a run folder alone, complete, self-contained, and safe whatever the facts say."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from tests.scenes import BoxRoom
from tests.small_world import FOV_DEG, HEIGHT, write_run
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.present import report, report_pictures
from worldgen.present.report import write_report
from worldgen.signatures.of_run import RunSignatures
from worldgen.types import Camera

EVIL = "</dd><script>alert('&')</script>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Titles, links, images and text of a page; raises AssertionError where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(
        tmp_path_factory.mktemp("runs") / "a & <b>", photo="<i>.jpg", facts={"atmosphere": EVIL, "x_db": 3}
    )


@pytest.fixture(scope="module")
def text(run_dir):
    return write_report(run_dir).read_text(encoding="utf-8")


def images(page: Page) -> list[Image.Image]:
    prefix = "data:image/jpeg;base64,"
    found = [base64.b64decode(source.removeprefix(prefix)) for source in page.sources if source.startswith(prefix)]
    return [Image.open(io.BytesIO(data)) for data in found]


def test_every_step_is_there_in_the_recipes_order(text):
    titles = [title for title, _ in report._STEPS.values()]
    assert Page(text).titles[: len(titles)] == titles


def test_time_memory_facts_and_versions_are_told(text):
    words = " ".join(Page(text).words)
    assert "11 min 15 s" in words  # nine steps of 75 s
    assert "1.2 GB" in words
    assert "3 dB" in words
    assert '"torch": "2"' in words


def test_what_the_run_says_is_escaped(text):
    page = Page(text)
    assert not page.tags & {"script", "s"}
    assert EVIL in page.words
    assert "a & <b>" in page.words


def test_page_carries_its_pictures_and_its_film(text):
    page = Page(text)
    assert len(images(page)) == 8 + 8  # photo, panorama, distances, plan, completed views, splats; what is wrong there
    for image in images(page):
        image.load()
    outside = {source for source in page.sources if not source.startswith(("data:", "#"))}
    files = set(report._FILES) - {"world_vr.html"}  # the small world has none
    assert outside == {f"export/{name}" for name in files}
    assert any(source.startswith("data:video/mp4") for source in page.sources)


def test_large_film_is_linked_beside_the_page(run_dir, monkeypatch):
    monkeypatch.setattr(report, "_VIDEO_EMBEDDED_MB", 0.0)
    assert '<video src="export/flythrough.mp4"' in report.report_html({}, run_dir, RunSignatures())


def test_same_folder_gives_the_same_report(run_dir, text):
    assert write_report(run_dir).read_text(encoding="utf-8") == text


def test_steps_that_have_not_run_are_left_out(run_dir, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(run_dir / "fov", begun / "fov")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["steps"] = {"fov": manifest["steps"]["fov"]}
    (begun / "manifest.json").write_text(json.dumps(manifest))
    page = Page(write_report(begun).read_text(encoding="utf-8"))
    assert page.titles == ["Field of view", "Time and memory", "How it was made"]
    assert images(page) == []
    assert not any("world.html" in word for word in page.words)


def test_edits_by_hand_are_told(run_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["edited_by_hand"] = {"panorama": ["panorama.png"]}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    words = Page(write_report(copy).read_text(encoding="utf-8")).words
    assert words[words.index("edited by hand") + 1] == "panorama.png"


def test_optimisers_curves_skip_what_is_no_number(text):
    svg = re.findall(r'<polyline points="([^"]*)"/>', text)
    assert [len(points.split()) for points in svg] == [3, 2]
    assert svg[0].split() == ["0.0,10.0", "150.0,76.7", "300.0,110.0"]


def test_folder_without_a_manifest_is_said(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json: not found"):
        write_report(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON"):
        write_report(tmp_path)


def test_photo_is_seen_again_through_its_camera(run_dir):
    seen = report_pictures.photo(run_dir)
    height, width = seen.shape[:2]
    assert height / width == 48 / 64
    panorama, _ = BoxRoom().panorama(HEIGHT)
    truth = to_perspective(panorama.rgb, Camera.from_fov(width, height, FOV_DEG), "bicubic")
    assert np.abs(seen / 255 - truth.permute(1, 2, 0).numpy()).mean() < 0.02


def test_splats_are_shown_through_the_photos_camera_and_from_a_step_aside(run_dir):
    through, aside = report_pictures.splat_views(run_dir)
    truth = BoxRoom().view(report_pictures.photo_camera(run_dir)).rgb.permute(1, 2, 0).numpy()
    assert through.shape == aside.shape == truth.shape
    assert np.abs(through / 255 - truth).mean() < np.abs(aside / 255 - truth).mean()


def test_side_steps_are_to_the_left_and_to_the_right(run_dir):
    pictures = report_pictures.side_steps(run_dir, width=160)
    assert set(pictures) == {"half_a_metre_left", "half_a_metre_right"}
    for side, x in (("left", -0.5), ("right", 0.5)):
        pose = look_at(0.0, position=torch.tensor([x, 0.0, 0.0]))
        truth = BoxRoom().view(replace(report_pictures.photo_camera(run_dir, 160), c2w=pose)).rgb.permute(1, 2, 0)
        errors = {name: np.abs(picture / 255 - truth.numpy()).mean() for name, picture in pictures.items()}
        assert min(errors, key=errors.get) == f"half_a_metre_{side}"


def test_panoramas_outline_is_the_photos_edge(run_dir):
    with Image.open(run_dir / "panorama" / "photo_mask.png") as image:
        mask = torch.from_numpy(np.array(image))
    outlined = torch.from_numpy(report_pictures.outlined_panorama(run_dir))
    white = (outlined == 255).all(-1)
    assert white[mask].any()
    assert not white[~mask].any()
    inner = mask[2:, 2:] & mask[:-2, :-2] & mask[2:, :-2] & mask[:-2, 2:]
    assert not white[1:-1, 1:-1][inner].any()


def test_plan_has_the_photos_direction_up(run_dir):
    """The room reaches 5 m ahead and 4 m back, 3.5 m to the right and 3 m to the left."""
    picture, radius_m = report_pictures.plan(run_dir, size=101)
    filled = (picture != 128).any(-1)
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    metres = radius_m / 50
    assert (50 - rows[0]) * metres == pytest.approx(min(5.0, radius_m), abs=0.3)
    assert (columns[-1] - 50) * metres == pytest.approx(min(3.5, radius_m), abs=0.3)
    assert (50 - columns[0]) * metres == pytest.approx(min(3.0, radius_m), abs=0.3)
