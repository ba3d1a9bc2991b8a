"""The Python API on a finished run folder, and the viewer's little server."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import plyfile
import pytest
import torch

import worldgen
from tests.scenes import BoxRoom
from tests.small_world import HEIGHT, panorama_points, room_splats, write_run
from worldgen import view
from worldgen import world as world_module
from worldgen.errors import UserError
from worldgen.io.gaussians import save_gaussians
from worldgen.present.flythrough import FlythroughSettings, write_flythrough
from worldgen.present.report_pictures import splat_views
from worldgen.splat.rasterize import rasterize
from worldgen.world import World


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "room")


@pytest.fixture(scope="module")
def world(run_dir):
    return World.open(run_dir)


def test_world_reads_what_the_steps_left(world):
    assert len(world.gaussians) == len(room_splats())
    assert len(world.cloud) == len(panorama_points(HEIGHT)) + 10
    assert world.panorama.rgb.shape == (3, HEIGHT, 2 * HEIGHT)
    torch.testing.assert_close(world.distance.distance, BoxRoom().panorama(HEIGHT)[1].distance)


def test_refined_panorama_comes_first(tmp_path):
    run_dir = write_run(tmp_path / "room")
    first = World(run_dir).panorama.rgb
    (run_dir / "refine" / "panorama.png").write_bytes((run_dir / "depth" / "distance.png").read_bytes())
    (run_dir / "panorama" / "panorama.png").unlink()
    torch.testing.assert_close(World(run_dir).panorama.rgb, first)


def test_world_says_what_it_is(world, run_dir):
    assert repr(world) == f"<World {run_dir}, from room.jpg, {len(room_splats()):,} splats>"


def test_camera_turns_right_and_up_and_stands_where_it_is_told(world):
    camera = world.camera(yaw_deg=90, position=(0.1, -0.2, 0.3), fov_deg=60, size=(40, 30))
    torch.testing.assert_close(camera.c2w[:3, 2], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(camera.position, torch.tensor([0.1, -0.2, 0.3]))
    assert (camera.width, camera.height) == (40, 30)
    assert camera.fov_deg == pytest.approx(60)
    torch.testing.assert_close(world.camera(pitch_deg=90).c2w[:3, 2], torch.tensor([0.0, -1, 0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "wrong", [{"position": (1, 2)}, {"size": (0, 10)}, {"size": (64.0, 48.0)}, {"fov_deg": 0}, {"fov_deg": 200}]
)
def test_camera_refuses_what_no_camera_has(world, wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: .*, wanted"):
        world.camera(**wrong)


def test_render_shows_the_room(world):
    camera = world.camera(yaw_deg=30, fov_deg=60, size=(48, 32))
    picture = world.render(camera)
    assert picture.shape == (3, 32, 48)
    assert not picture.requires_grad
    assert 0 <= picture.min() <= picture.max() <= 1
    blurred = torch.nn.functional.avg_pool2d(BoxRoom().view(camera).rgb, 5, 1, 2)
    assert (torch.nn.functional.avg_pool2d(picture, 5, 1, 2) - blurred).abs().mean() < 0.08


def test_pictures_and_film_of_a_world_are_rendered_as_it_was_fitted(world, run_dir, tmp_path):
    copy = Path(shutil.copytree(run_dir, tmp_path / "room"))
    save_gaussians(copy / "splat" / "gaussians.safetensors", replace(world.gaussians, antialiased=True))
    fine, camera = World(copy), world.camera(size=(64, 48))
    with torch.no_grad():
        wanted = rasterize(world.gaussians, camera, antialiased=True).rgb.clamp(0, 1)
    assert not torch.equal(wanted, world.render(camera))
    assert torch.equal(fine.render(camera), wanted)
    assert not np.array_equal(splat_views(copy)[0], splat_views(run_dir)[0])
    settings = FlythroughSettings(seconds=0.5, fps=8, width=64, height=48)
    for one, name in ((world, "plain.mp4"), (fine, "fine.mp4")):
        write_flythrough(one.gaussians, tmp_path / name, settings)
    assert (tmp_path / "plain.mp4").read_bytes() != (tmp_path / "fine.mp4").read_bytes()


@pytest.mark.parametrize("suffix", [".ply", ".spz", ".html", ".mp4"])
def test_export_writes_what_the_suffix_says(world, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(world_module, "write_world", lambda splats, path, settings, title: path.write_text(title))
    assert world.export(tmp_path / f"x{suffix}") == tmp_path / f"x{suffix}"
    assert (tmp_path / f"x{suffix}").read_text() == "room"


def test_exported_ply_holds_every_splat(world, tmp_path):
    world.export(tmp_path / "x.ply")
    assert plyfile.PlyData.read(tmp_path / "x.ply")["vertex"].count == len(world.gaussians)


def test_export_refuses_other_suffixes(world, tmp_path):
    with pytest.raises(UserError, match=r"x\.glb"):
        world.export(tmp_path / "x.glb")


def test_export_says_where_nothing_can_be_written(world):
    with pytest.raises(UserError, match=r"/proc/x\.ply: cannot be written"):
        world.export("/proc/x.ply")


def test_what_is_no_finished_world_is_said(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no manifest\.json"):
        World(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"gaussians\.safetensors: not found"):
        World(tmp_path)


def test_generate_runs_what_the_command_line_runs(run_dir, monkeypatch):
    seen = {}

    def run(config, reporter):
        seen["config"] = config
        return type("Folder", (), {"root": run_dir})

    monkeypatch.setattr("worldgen.pipeline.run", run)
    world = worldgen.generate("a=b, c.jpg", ["panorama=sequential", "seed=7"], out="somewhere", quiet=True)
    assert world.run_dir == run_dir
    assert (seen["config"].image, seen["config"].out, seen["config"].seed) == ("a=b, c.jpg", "somewhere", 7)


def test_generate_refuses_what_the_command_line_refuses():
    with pytest.raises(UserError, match="panorama=round"):
        worldgen.generate("photo.jpg", ["panorama=round"])
    with pytest.raises(UserError, match="overrides: 'seed=1', wanted a list"):
        worldgen.generate("photo.jpg", "seed=1")


def test_show_serves_the_page_outside_of_notebooks(world, run_dir, monkeypatch):
    served = []
    monkeypatch.setattr(view, "serve", served.append)
    world.show()
    assert served == [run_dir]


def test_show_puts_the_page_into_a_notebook(world, run_dir, monkeypatch):
    shown = []
    monkeypatch.setattr(world_module, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    world.show(height=321)

    class Frame(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "iframe":
                self.attributes = dict(attrs)

    frame = Frame()
    frame.feed(shown[0].data)
    assert frame.attributes["srcdoc"] == (run_dir / "export" / "world.html").read_text(encoding="utf-8")
    assert "height:321px" in frame.attributes["style"]


def get(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", path)
    return connection.getresponse()


def test_server_gives_the_run_folder_to_this_machine(run_dir, capfd):
    with view.server(run_dir) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        answer = get(running.server_port, "/export/world.html")
        assert answer.status == 200
        assert answer.read() == (run_dir / "export" / "world.html").read_bytes()
        assert get(running.server_port, "/../secret").status == 404
        assert running.server_address[0] == "127.0.0.1"
        running.shutdown()
    assert capfd.readouterr() == ("", "")


def test_server_says_that_its_port_is_taken(run_dir):
    with view.server(run_dir) as running, pytest.raises(UserError, match=r"--port.*wanted a free one"):
        view.server(run_dir, running.server_port)


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_view_ends_with_one_line_where_there_is_no_world(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert view.main([str(tmp_path / folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert folder in err


def test_view_opens_the_browser_unless_told_not_to(run_dir, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(view.ThreadingHTTPServer, "serve_forever", lambda self: None)
    view.serve(run_dir, browser=False)
    assert opened == []
    view.serve(run_dir)
    (url,) = opened
    assert url in capsys.readouterr().out


def test_view_ends_quietly_on_ctrl_c(run_dir):
    command = [sys.executable, "-m", "worldgen.view", str(run_dir), "--no-browser"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=listening) as process:
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert errors == ""


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_wrong_port_is_said(port, capsys):
    assert view.main(["runs/x", "--port", port]) == 2
    assert "wanted 0 to 65535" in capsys.readouterr().err


def test_importing_the_package_loads_neither_viewer_nor_splats():
    code = "import sys, worldgen; print(any(name in sys.modules for name in ('viser', 'numba', 'worldgen.world')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "first_world.ipynb"


def test_notebook_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_notebook_runs(tmp_path, monkeypatch):
    """With the real small networks, which it fetches."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs" / "first_world" / "report.html").exists()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 7
    assert not any("viser" in output.get("data", {}).get("text/plain", "") for output in outputs)
