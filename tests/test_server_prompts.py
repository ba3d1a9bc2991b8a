"""A real server on this machine misbehaves in every way that servers do; each ends as prompts or in one clear line."""

import base64
import io
import json
import socket
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from PIL import Image

from worldgen import cli
from worldgen.config import choice, instantiate
from worldgen.errors import UserError
from worldgen.models import chat_server
from worldgen.models.conformance import check_prompter, picture
from worldgen.models.server_prompts import ServerPrompter
from worldgen.runs.artifacts import save_image

GOOD = {"indoor": False, "atmosphere": "a meadow", "sky": "blue sky", "ground": "grass", "negative": "cows"}
KEY = "sk-0123456789"


def completion(text) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


WELL = (200, {}, completion(json.dumps(GOOD)))


class Server(ThreadingHTTPServer):
    """answers: (status, headers, body), one after the other, the last one for ever; a function answers by itself."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list = [WELL]
        self.requests: list[tuple[str, dict, dict]] = []
        self.over = Event()

    def handle_error(self, *_) -> None:
        """Clients that hang up are what the tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer(self)
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Nobody listens."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(chat_server, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("WORLDGEN_SERVER_KEY", raising=False)
    with Server() as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.over.set()
        made.shutdown()
        thread.join()


def prompter(server: Server, **settings) -> ServerPrompter:
    return ServerPrompter(server.url, "owner/name", **{"timeout_s": 5.0} | settings)


def complaint(server: Server, **settings) -> str:
    """The one line in which it ends."""
    with pytest.raises(UserError) as caught:
        prompter(server, **settings)(picture())
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message.removeprefix(f"prompts.url: {server.url}: ")


def test_it_keeps_its_contract(server):
    check_prompter(prompter(server))


def test_the_server_is_shown_the_photo_and_asked_for_the_likeliest_words(server):
    prompts = prompter(server, longest_px=64)(picture())
    assert vars(prompts) == GOOD | {"source": "owner/name at 127.0.0.1"}
    ((path, headers, request),) = server.requests
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert request["model"] == "owner/name"
    assert (request["temperature"], request["max_tokens"]) == (0, 512)
    shown, asked = request["messages"][0]["content"]
    kind, _, encoded = shown["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (64, 48)
    assert "no people" in asked["text"]


def test_more_of_the_request_is_the_users(server):
    options = {"max_tokens": None, "max_completion_tokens": 900, "seed": 0}
    prompter(server, options=options)(picture())
    request = server.requests[0][2]
    assert "max_tokens" not in request
    assert (request["max_completion_tokens"], request["seed"]) == (900, 0)


def test_the_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    prompter(server, key_variable="MY_KEY")(picture())
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("MY_KEY", "smart\u201cquotes")
    with pytest.raises(UserError, match="MY_KEY: holds other characters than a header may"):
        prompter(server, key_variable="MY_KEY")(picture())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_a_busy_or_ill_server_is_asked_again(server, status):
    server.answers = [(status, {}, b"later")] * 3 + [WELL]
    assert prompter(server)(picture()).sky == "blue sky"
    assert len(server.requests) == 4
    server.requests.clear()
    server.answers = [(status, {}, b'{"error": {"message": "too many\\nguests"}}')]
    assert complaint(server, retries=2) == (
        f"answers {status} (too many guests), asked 3 times, wanted a server that is well"
    )
    assert len(server.requests) == 3


def test_the_server_says_when_to_ask_again(server, monkeypatch):
    slept = []
    monkeypatch.setattr(chat_server.time, "sleep", slept.append)
    soon = formatdate(time.time() + 30, usegmt=True)
    waits = ["7", "0", "-3", soon, "soon", ""]
    server.answers = [(429, {"Retry-After": wait}, b"") for wait in waits] + [WELL]
    prompter(server, retries=6)(picture())
    assert slept[:3] == [7, 0, 0]
    assert slept[3] == pytest.approx(30, abs=3)
    assert slept[4:] == pytest.approx([0.001 * 2**4, 0.001 * 2**5])


def test_nobody_waits_for_hours(server):
    for wait, told in (("3600", "3600"), ("9" * 400, "inf")):
        server.answers = [(429, {"Retry-After": wait}, b"")]
        server.requests.clear()
        assert f"answers 429 (Too Many Requests), and asks to wait {told} s" in complaint(server)
        assert len(server.requests) == 1


def half(handler: Handler) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(WELL[2][:20])


def hang_up(handler: Handler) -> None:
    """Goes without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler: Handler) -> None:
    """Says nothing until the test is over."""
    handler.server.over.wait(20)


def drip(handler: Handler) -> None:
    """A byte now and then: no single one is late."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b" ")


def endless(handler: Handler) -> None:
    """More than anybody wants to hear."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.is_set():
        handler.wfile.write(b" " * 1_000_000)


@pytest.mark.parametrize("fault", [half, hang_up])
def test_a_broken_connection_is_tried_again(server, fault):
    server.answers = [fault, WELL]
    assert prompter(server)(picture()).sky == "blue sky"
    server.answers = [fault]
    assert complaint(server, retries=1).startswith("breaks off in the middle of its answer, asked 2 times")


@pytest.mark.parametrize("fault", [silent, drip])
def test_a_server_that_takes_too_long_is_left(server, fault):
    server.answers = [fault]
    began = time.monotonic()
    assert complaint(server, timeout_s=0.3) == (
        "no answer within 0.3 s, wanted a quicker server or a larger prompts.timeout_s"
    )
    assert time.monotonic() - began < 5


def test_a_server_that_never_ends_is_left(server):
    server.answers = [endless]
    assert complaint(server).startswith("answers more than 4 MB")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html><body>It works!</body></html>", 'answers "<html><body>It works!</body></html>", wanted a chat'),
        (b"", 'answers "", wanted a chat completion'),
        (b"\xff\x00", "wanted a chat completion"),
        (completion("x")[:30], "wanted a chat completion"),
        (b'{"choices": []}', "wanted a chat completion"),
        (b'{"choices": [{"message": "hello"}]}', "wanted a chat completion"),
        (b"[" * 100_000, "wanted a chat completion"),
        (completion(None), "wanted a chat completion"),
        (completion(7), "wanted a chat completion"),
        (
            b'{"choices": [{"message": {"content": null, "refusal": "I cannot help."}}]}',
            'answers "I cannot help.", wanted a chat completion',
        ),
    ],
)
def test_nonsense_is_told(server, body, told):
    server.answers = [(200, {}, body)]
    assert told in complaint(server)


def test_an_answer_in_parts_is_put_together(server):
    text = json.dumps(GOOD)
    parts = [{"type": "text", "text": text[:20]}, {"type": "reasoning"}, {"type": "text", "text": text[20:]}]
    server.answers = [(200, {}, completion(parts))]
    assert prompter(server)(picture()).ground == "grass"


def test_a_wrong_description_is_asked_for_once_more(server):
    server.answers = [(200, {}, completion('{"indoor": "perhaps"}')), WELL]
    assert prompter(server)(picture()).sky == "blue sky"
    first, second = (request["messages"] for _, _, request in server.requests)
    assert second[0] == first[0]
    assert second[1] == {"role": "assistant", "content": '{"indoor": "perhaps"}'}
    assert second[2]["content"].startswith("That cannot be used: no key atmosphere.")
    server.answers = [(200, {}, completion("a meadow"))]
    assert complaint(server).startswith(
        'prompts: owner/name at 127.0.0.1 was asked twice and answers "a meadow": no JSON object in it'
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "answers 400 (no such thing), wanted a server and a prompts.model that take pictures"),
        (
            401,
            "answers 401 (no such thing), wanted a key that it knows in the environment variable WORLDGEN_SERVER_KEY",
        ),
        (403, "wanted a key that it knows"),
        (
            404,
            "answers 404 (no such thing), wanted an address as http://localhost:8000/v1, and a prompts.model that is",
        ),
        (413, "wanted a server and a prompts.model that take pictures"),
    ],
)
def test_a_server_that_says_no_is_asked_once(server, status, told):
    for body in (
        b'{"error": {"message": "no such thing"}}',
        b'{"message": "no such thing"}',
        b'{"detail": "no such thing"}',
    ):
        server.answers = [(status, {}, body)]
        server.requests.clear()
        assert told in complaint(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": {"code": 1}}', b'{"error": null}'])
def test_a_no_without_words_is_told_by_its_status(server, body):
    server.answers = [(400, {}, body)]
    assert complaint(server).startswith("answers 400 (Bad Request), wanted ")


def test_a_key_is_never_repeated(server, monkeypatch):
    monkeypatch.setenv("WORLDGEN_SERVER_KEY", KEY)
    server.answers = [(401, {}, json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}).encode())]
    assert "Incorrect key: <key>" in complaint(server)
    server.answers = [(200, {}, KEY.encode())]
    assert KEY not in complaint(server)


def test_a_key_follows_no_redirect(server, monkeypatch):
    monkeypatch.setenv("WORLDGEN_SERVER_KEY", KEY)
    for status in (302, 307):
        server.answers = [(status, {"Location": f"{server.url}/elsewhere"}, b"")]
        server.requests.clear()
        assert f"wanted the address that it leads to: {server.url}/elsewhere" in complaint(server)
        assert len(server.requests) == 1


def test_no_server_is_told_at_once(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        ServerPrompter(url, "owner/name")(picture())
    assert str(caught.value) == (
        f"prompts.url: {url}: cannot be reached (Connection refused), wanted a server that runs there"
    )
    assert time.monotonic() - began < 5


def test_something_else_listens_there(monkeypatch):
    """A program that greets in a language of its own, as SSH does."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(chat_server, "_FIRST_WAIT_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            for _ in range(2):
                connection, _ = other.accept()
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                connection.recv(10_000_000)
                connection.close()

        Thread(target=greet, daemon=True).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}/v1"
        with pytest.raises(UserError, match="breaks off in the middle of its answer, asked 2 times") as caught:
            ServerPrompter(url, "owner/name", retries=1)(picture())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "prompts.url: localhost:8000, wanted an address as http://localhost:8000/v1"),
        ({"url": "ftp://host/v1"}, "prompts.url: ftp://host/v1, wanted an address"),
        ({"url": "http://host:port/v1"}, "prompts.url: Port could not be cast"),
        ({"url": "http://ho st/v1"}, "wanted an address"),
        ({"url": "http://host/v1?key=1"}, "wanted an address"),
        ({"url": f"http://me:{KEY}@host/v1"}, "prompts.url: holds a password, wanted an address without"),
        ({"model": ""}, "prompts.model: nothing, wanted a model's name"),
        ({"key_variable": KEY}, "prompts.key_variable: no such name, wanted that of an environment variable"),
        ({"timeout_s": 0}, "prompts.timeout_s: 0, wanted more than 0"),
        ({"retries": 1.5}, "prompts.retries: 1.5, wanted a whole number from 0"),
        ({"longest_px": 1}, "prompts.longest_px: 1, wanted a whole number from 64"),
        ({"most_tokens": 1}, "prompts.most_tokens: 1, wanted a whole number from 16"),
    ],
)
def test_settings_are_checked_before_anybody_is_asked(settings, message):
    with pytest.raises(UserError) as caught:
        ServerPrompter(**{"url": "http://localhost:8000/v1", "model": "owner/name"} | settings)
    assert message in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_run_goes_on_where_the_server_failed_it(server, tmp_path, capsys):
    save_image(tmp_path / "photo.png", picture())
    out = tmp_path / "run"
    arguments = [f"image={tmp_path / 'photo.png'}", f"out={out}", "until=prompts", "prompts=server", "quiet=true"]
    arguments += [f"prompts.url={server.url}", "prompts.retries=0"]
    server.answers = [(503, {}, b""), WELL]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "answers 503 (Service Unavailable), asked 1 times" in line
    made = (out / "fov" / "camera.json").stat().st_mtime_ns
    assert not (out / "prompts").exists()
    assert cli.main(arguments) == 0
    assert json.loads((out / "prompts" / "prompts.json").read_text())["negative"] == "cows"
    assert (out / "fov" / "camera.json").stat().st_mtime_ns == made


def test_the_config_makes_one():
    assert instantiate(choice("prompts", "server")).url == "http://localhost:8000/v1"
