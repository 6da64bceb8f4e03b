"""Chromium without a window, driven over its own pipe: a real browser reads the page."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from procs import Failed


class Browser:
    """One page. `look` runs JavaScript in it, `picture` takes its picture."""

    def __init__(self, folder, env=None):
        os.makedirs(folder, exist_ok=True)
        self.home = tempfile.mkdtemp(prefix="chromium.", dir=folder)
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()
        command = ["bash", "-c", f'exec 3<&{to_read} 4>&{to_write}; exec "$@"', "bash", shutil.which("chromium") or "chromium", "--headless",
                   "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                   "--disable-component-update", "--hide-scrollbars", f"--user-data-dir={self.home}", "--remote-debugging-pipe", "about:blank"]
        self.child = subprocess.Popen(command, pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env={**os.environ, **(env or {}), "HOME": self.home}, process_group=0)
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.number, self.session, self.errors = b"", 0, None, []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _receive(self, until):
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(0, until - time.monotonic()))[0]:
                raise Failed("chromium does not answer")
            piece = os.read(self.back, 1 << 20)
            if not piece:
                raise Failed("chromium has ended")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        """One command of the DevTools protocol; what the page complains of meanwhile is kept in `errors`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **({"sessionId": self.session} if self.session else {})}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            answer = self._receive(until)
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            elif answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.errors.append(answer["params"]["entry"]["text"])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def look(self, script):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script, seconds=120):
        """Waits until an expression is true in the page; returns its value."""
        until = time.monotonic() + seconds
        while not (value := self.look(script)):
            if time.monotonic() > until:
                raise Failed(f"not within {seconds} s: {script}\n{self.look('document.body.innerText')}")
            time.sleep(0.1)
        return value

    def shape(self, width, height, dark=False, scale=1):
        """The window's size in CSS pixels, and whether its user likes it dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path, whole=False):
        """Writes a PNG of what is in the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def stop(self):
        """Ends it; nothing of it stays."""
        try:
            self.session = None
            self.call("Browser.close")
        except (Failed, OSError):
            pass
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(10)
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.home, ignore_errors=True)
        return 0
