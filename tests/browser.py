"""A headless Chromium that tests steer by its DevTools protocol: scripts run in the page, pictures and key presses."""

import base64
import io
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import ClientConnection, connect

CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless=new --no-sandbox --no-first-run --disable-background-networking --disable-component-update"
    " --disable-sync --disable-quic --use-angle=swiftshader --enable-unsafe-swiftshader --remote-debugging-port=0"
    " --hide-scrollbars --force-device-scale-factor=1"
)


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=240))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 180) -> None:
        """Until an expression in the page is true."""
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < deadline, f"{condition}: not within {seconds} s"
            time.sleep(0.1)

    def open(self, url: str, before: str = "") -> None:
        """Goes to a page; `before` runs in it ahead of its own scripts."""
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.call("Page.navigate", url=url)

    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3], what the tab shows."""
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image.convert("RGB"))

    def hold(self, key: str, code: str, seconds: float) -> None:
        """A key, pressed for a while."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code)
        time.sleep(seconds)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """The left button, held from pixel to pixel (x, y)."""
        where = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **where)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], **where)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **where)

    def touch(self, *moments: list[tuple[int, int]]) -> None:
        """Fingers, put down and moved: where each is (x, y) at one moment after the other, and then none."""
        before = 0
        for fingers in moments:
            points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
            kind = "touchStart" if len(fingers) > before else "touchMove"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
            before = len(fingers)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


@contextmanager
def browser(profile: Path, width: int = 400, height: int = 300, flags: str = "") -> Iterator[Page]:
    """A browser with one tab of that size, ended afterwards; `profile`: an empty folder of its own."""
    command = [CHROME, *_FLAGS.split(), *flags.split(), f"--user-data-dir={profile}", "about:blank"]
    with (profile / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            with connect(_tab(profile), max_size=None) as socket:
                page = Page(socket)
                page.call("Page.enable")
                page.call("Runtime.enable")
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                page.call("Emulation.setDeviceMetricsOverride", **size)
                yield page
        finally:
            process.terminate()
            process.wait(timeout=30)


def _tab(profile: Path) -> str:
    """The address of the first tab's socket, as soon as the browser has told it."""
    from urllib.request import urlopen

    deadline = time.monotonic() + 60
    while not (found := re.search(r"ws://([\d.:]+)/", (profile / "log").read_text())):
        assert time.monotonic() < deadline, "Chromium does not start"
        time.sleep(0.1)
    while True:
        with urlopen(f"http://{found[1]}/json/list") as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return tabs[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
