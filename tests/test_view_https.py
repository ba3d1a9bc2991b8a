"""`worldgen.view --https`: who trusts its certificate gets the page, and nothing of the run but what is to be seen."""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worldgen import view
from worldgen.errors import UserError


@pytest.fixture
def run_dir(tmp_path) -> Path:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "world_vr.html").write_text("the page")
    (tmp_path / "log.txt").write_text("not for everybody")
    return tmp_path


@contextmanager
def served(run_dir: Path) -> Iterator[tuple[int, str]]:
    running, url = view.headset_server(run_dir)
    with running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port, url
        running.shutdown()


def trusting(port: int) -> ssl.SSLContext:
    """Trusts the certificate that the server shows, for the names in it."""
    context = ssl.create_default_context(cadata=ssl.get_server_certificate(("127.0.0.1", port)))
    assert context.check_hostname
    return context


def test_page_comes_by_https_under_every_name(run_dir):
    with served(run_dir) as (port, url):
        assert re.fullmatch(rf"https://[\d.]+:{port}/world_vr\.html", url)
        for host in ("127.0.0.1", "localhost", url.split("/")[2].partition(":")[0]):
            connection = http.client.HTTPSConnection(host, port, context=trusting(port), timeout=10)
            connection.request("GET", "/world_vr.html")
            assert connection.getresponse().read() == b"the page"
            connection.request("GET", "/../log.txt")
            assert connection.getresponse().status == 404


def test_who_only_connects_keeps_nobody_waiting(run_dir):
    with served(run_dir) as (port, _), socket.create_connection(("127.0.0.1", port)):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(port), timeout=10)
        connection.request("GET", "/world_vr.html")
        assert connection.getresponse().status == 200


def test_address_is_printed_with_its_code(run_dir, capsys, monkeypatch):
    monkeypatch.setattr(
        view.ThreadingHTTPServer, "serve_forever", lambda self: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert view.main([str(run_dir), "--https"]) == 0
    printed = capsys.readouterr().out
    (url,) = re.findall(r"https://\S+", printed)
    assert view.qr_code(url) in printed
    assert len(view.qr_code(url).splitlines()) > 10


def test_run_without_the_page_is_told_in_one_line(tmp_path, capsys):
    assert view.main([str(tmp_path / "nowhere"), "--https"]) == 2
    assert view.main([str(tmp_path), "--https"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "not a folder" in errors[0]
    assert "no export/world_vr.html in it, wanted one" in errors[1]
    assert len(errors) == 2


def test_missing_library_is_named(run_dir, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(UserError, match="--https: cryptography is not installed"):
        view.headset_server(run_dir)
