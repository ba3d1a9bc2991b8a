"""A server that speaks OpenAI's protocol for conversations: asked with patience, every failure told in one line.

Only the standard library. A server that is busy (429) or ill (5xx, a broken connection) is asked again; one that says
no, or nothing at all, is not.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from worldgen.errors import UserError
from worldgen.models.scene_answers import one_line, too_deep

_LARGEST_ANSWER = 4_000_000  # bytes; a conversation's turn has thousands
_LONGEST_WAIT_S = 120.0  # that a server may ask for before it is asked again
_FIRST_WAIT_S = 1.0  # doubled every time, where the server does not say how long
_QUOTED = 160  # characters of what a server says, in an error


class _Again(Exception):
    """Asking again may help. wait_s: as the server wishes, if it says."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class ChatServer:
    """url: up to and with the version, as in http://localhost:8000/v1. secret: the key, "" = none is sent; secret_from:
    where it comes from, for people. timeout_s: of one answer. retries: of a busy or ill server."""

    url: str
    secret: str
    secret_from: str
    timeout_s: float
    retries: int

    def complete(self, request: Mapping[str, Any]) -> str:
        """The text that the server adds to a conversation. Raises UserError."""
        body = json.dumps(request).encode()
        for attempt in range(self.retries + 1):
            try:
                return self._text(self._asked(body))
            except _Again as reason:
                if attempt == self.retries:
                    raise self._error(f"{reason}, asked {attempt + 1} times", "a server that is well") from reason
                time.sleep(self._wait(reason, attempt))
        raise AssertionError

    def _wait(self, reason: _Again, attempt: int) -> float:
        """Seconds until it may be asked again. Raises UserError where nobody would wait so long."""
        wait_s = _FIRST_WAIT_S * 2**attempt if reason.wait_s is None else reason.wait_s
        if wait_s > _LONGEST_WAIT_S:
            raise self._error(f"{reason}, and asks to wait {wait_s:.0f} s", "to be asked again then") from reason
        return wait_s

    def _asked(self, body: bytes) -> bytes:
        """What it answers to one request."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        request = Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        try:
            with _OPENER.open(request, timeout=self.timeout_s) as answer:
                return self._read(answer)
        except HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, HTTPException) as error:
            raise self._broken(error) from error

    def _read(self, answer: HTTPResponse) -> bytes:
        """All of it, within the time: a socket's own limit begins anew with every byte."""
        deadline, parts, length = time.monotonic() + self.timeout_s, [], 0
        while part := answer.read1(65536):
            parts.append(part)
            length += len(part)
            if length > _LARGEST_ANSWER:
                raise self._error(f"answers more than {_LARGEST_ANSWER / 1e6:.0f} MB", "a chat completion")
            if time.monotonic() > deadline:
                raise TimeoutError
        if answer.length:  # read1 does not tell, as read does
            raise _Again("breaks off in the middle of its answer")
        return b"".join(parts)

    def _refusal(self, error: HTTPError) -> Exception:
        """What an answer other than 200 means."""
        said = f"answers {error.code} ({self._reason(error)})"
        if error.code == 429 or error.code >= 500:
            return _Again(said, _retry_after(error.headers.get("Retry-After")))
        if error.code in (401, 403):
            return self._error(said, f"a key that it knows in the environment variable {self.secret_from}")
        if error.code < 400:
            return self._error(said, f"the address that it leads to: {error.headers.get('Location')}")
        if error.code in (404, 405):
            return self._error(said, "an address as http://localhost:8000/v1, and a prompts.model that is there")
        return self._error(said, "a server and a prompts.model that take pictures")

    def _reason(self, error: HTTPError) -> str:
        """What a refusal's body says, or else its status."""
        try:
            body = error.read(65536)
            said = _parsed(body)
            said = said.get("error", said.get("message", said.get("detail")))
            said = said.get("message") if isinstance(said, Mapping) else said
        except (OSError, HTTPException, ValueError, AttributeError, RecursionError):
            said = None
        return self._quoted(said) if isinstance(said, str) and said.strip() else str(error.reason)

    def _broken(self, error: Exception) -> Exception:
        """What it means that no whole answer came."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            wanted = "a quicker server or a larger prompts.timeout_s"
            return self._error(f"no answer within {self.timeout_s:g} s", wanted)
        if isinstance(reason, ConnectionRefusedError) or not isinstance(reason, ConnectionError | HTTPException):
            said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
            return self._error(f"cannot be reached ({self._quoted(said)})", "a server that runs there")
        return _Again("breaks off in the middle of its answer")

    def _text(self, body: bytes) -> str:
        """The text of a completion."""
        try:
            message = _parsed(body)["choices"][0]["message"]
            content = message["content"]
            if isinstance(content, list):  # some servers answer in parts
                content = "".join(part["text"] for part in content if part.get("type") == "text")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            message, content = {}, None
        if isinstance(content, str):
            return content
        refusal = message.get("refusal") if isinstance(message, Mapping) else None
        found = refusal if isinstance(refusal, str) else body[: 4 * _QUOTED].decode(errors="replace")
        raise self._error(f'answers "{self._quoted(found)}"', "a chat completion, with its text")

    def _error(self, found: str, wanted: str) -> UserError:
        return UserError(f"prompts.url: {self.url}: {found}, wanted {wanted}")

    def _quoted(self, text: str) -> str:
        """A server's words on one short line, without the key, which some repeat."""
        text = one_line(text.replace(self.secret, "<key>") if self.secret else text)
        return text[:_QUOTED] + ("..." if len(text) > _QUOTED else "")


class _NoRedirects(HTTPRedirectHandler):
    """The standard library would take the key along to wherever it is led."""

    def redirect_request(self, *_: Any) -> None:
        """None: an answer that leads elsewhere is an error."""


_OPENER = build_opener(_NoRedirects)


def _parsed(body: bytes) -> Any:
    """What JSON says. Raises ValueError."""
    text = body.decode()
    if too_deep(text):
        raise ValueError("nested too deeply")
    return json.loads(text)


def _retry_after(header: str | None) -> float | None:
    """Seconds, of a header that gives seconds or a date; None where it says neither."""
    if header is None:
        return None
    if re.fullmatch(r"-?[0-9]+", header.strip()):
        return max(0.0, float(header))
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
