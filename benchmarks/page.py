"""Opens a report's page in a real Chromium and says what is wrong with it; exits 1 where something is.

    apt-get install -y chromium && npm pack axe-core && tar -xzf axe-core-*.tgz
    python benchmarks/page.py reports/mine/index.html --run runs/mine --axe package/axe.min.js --shots shots/

At 400, 1,000 and 1,600 px, light and dark: no console error, no request but the page itself, loaded in under a second,
nothing wider than the window, no serious violation found by axe-core, and the first screen is the one of ``diagnose``,
word for word. Chromium is spoken to over two pipes, so nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WIDTHS = (400, 1000, 1600)
THEMES = ("light", "dark")
SECONDS = 1.0
TRIES = 3
"""Loadings of which the fastest counts: what else the machine does makes one slow, never fast."""
BYTES = 1_000_000

_WIDER = """(() => {
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push('the document');
  for (const one of document.body.querySelectorAll('*')) {
    if (one.closest('.table, .drawn') && !one.matches('.table, .drawn')) continue;
    if (one.matches('.skip')) continue;
    const box = one.getBoundingClientRect();
    if (box.width && box.right > wide + 1) found.push(one.tagName + '.' + one.className);
  }
  return found.slice(0, 5);
})()"""
_AXE = """axe.run({resultTypes: ['violations']}).then(found => found.violations.map(
  one => [one.impact, one.id, one.help, one.nodes.length, one.nodes[0].html.slice(0, 160)]))"""
_LOADED = "(() => { const one = performance.getEntriesByType('navigation')[0]; return one.loadEventEnd; })()"
_FOCUS = "(document.activeElement.className || document.activeElement.tagName)"


NO_BROWSER = 75
"""Exit code where Chromium does not start: nothing was checked."""


class Browser:
    """A headless Chromium, spoken to over its debugging pipes."""

    def __init__(self, binary: str) -> None:
        """Start it with a fresh profile."""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        # The protocol is on descriptors 3 and 4.
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", script, "-", binary, *flags, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._left, self._number, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return a command's result; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        left = memoryview(json.dumps(message).encode() + b"\0")
        while left:
            left = left[os.write(self._out, left) :]
        while True:
            found = self._receive()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]
            self.events.append(found)

    def wait(self, event: str) -> None:
        """Wait for an event."""
        while not any(one.get("method") == event for one in self.events):
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            read = os.read(self._in, 1 << 16)
            if not read:
                raise RuntimeError("Chromium went away")
            self._left += read
        one, _, self._left = self._left.partition(b"\0")
        return json.loads(one)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression gives in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"])[:400])
        return found["result"].get("value")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._profile.cleanup()


def check(browser: Browser, page: Path, *, axe: str, screen: str, shots: Path | None, most: float) -> list[str]:
    """Return what is wrong with a page, with what was measured printed."""
    wrong = [] if page.stat().st_size <= BYTES else [f"{page.stat().st_size:,} bytes"]
    for theme in THEMES:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        for width in WIDTHS:
            where = f"{width} px, {theme}"
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.call("Emulation.setDeviceMetricsOverride", **size)
            wrong += [f"{where}: {one}" for one in _opened(browser, page, most)]
            wrong += [f"{where}: wider than the window: {one}" for one in browser.evaluate(_WIDER)]
            if screen:
                said = browser.evaluate("document.querySelector('.screen').textContent")
                if said.split() != screen.split():
                    wrong.append(f"{where}: the first screen is not the diagnosis's")
            if axe:
                browser.evaluate(axe + "; 0")
                for impact, name, text, count, html in browser.evaluate(_AXE):
                    print(f"  {where}: axe {impact}: {name} x {count}: {text}: {html}")
                    wrong += [f"{where}: axe {name}"] if impact in ("serious", "critical") else []
            if shots is not None:
                shots.mkdir(parents=True, exist_ok=True)
                _shot(browser, shots / f"{page.parent.name}-{width}-{theme}.png", width)
    return wrong + _keys(browser)


def _opened(browser: Browser, page: Path, most: float) -> list[str]:
    browser.events.clear()
    browser.call("Page.navigate", url=page.resolve().as_uri())
    browser.wait("Page.loadEventFired")
    seconds, wrong = browser.evaluate(_LOADED) / 1000, []
    for _ in range(TRIES - 1):
        if seconds > most:
            browser.events.clear()
            browser.call("Page.reload")
            browser.wait("Page.loadEventFired")
            seconds = browser.evaluate(_LOADED) / 1000
    if seconds > most:
        wrong.append(f"loaded in {seconds:.2f} s")
    for one in browser.events:
        method, told = one.get("method"), one.get("params", {})
        url = told.get("request", {}).get("url", "")
        if method == "Network.requestWillBeSent" and url != page.resolve().as_uri() and not url.startswith("data:"):
            wrong.append(f"a request for {url[:80]}")
        elif method == "Runtime.exceptionThrown" or (method == "Runtime.consoleAPICalled" and told["type"] == "error"):
            wrong.append("an error on the console")
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            wrong.append(f"logged: {told['entry']['text'][:120]}")
    print(f"  loaded in {seconds:.3f} s")
    return wrong


def _keys(browser: Browser) -> list[str]:
    """Return what a keyboard does not reach: the first stop is the link past everything."""
    browser.call("Page.bringToFront")
    for kind in ("rawKeyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    first = browser.evaluate(_FOCUS)
    return [] if first == "skip" else [f"the first stop of the keyboard is {first}"]


def _shot(browser: Browser, file: Path, width: int) -> None:
    height = min(30_000, int(browser.evaluate("document.documentElement.scrollHeight")))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    found = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    file.write_bytes(base64.b64decode(found["data"]))


def main() -> int:
    """Check the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--run", type=Path, help="the run that the page is about")
    parser.add_argument("--axe", type=Path, help="axe.min.js")
    parser.add_argument("--shots", type=Path, help="where screenshots go")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="in which it is to be loaded")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    options = parser.parse_args()
    screen = ""
    if options.run is not None:
        from collapse_probe import diagnose

        screen = diagnose(options.run).to_dict()["summary"]
        print(f"the first screen has {len(re.findall(r'[0-9.]+', screen))} numbers")
    axe = options.axe.read_text(encoding="utf-8") if options.axe else ""
    try:
        browser, wrong = Browser(options.chromium), []
    except (OSError, RuntimeError) as error:
        print(f"{options.chromium}: {error}")
        return NO_BROWSER
    try:
        for page in options.pages:
            print(f"{page}: {page.stat().st_size:,} bytes")
            wrong += check(browser, page, axe=axe, screen=screen, shots=options.shots, most=options.seconds)
    finally:
        browser.close()
    print("\n".join(wrong) or "nothing is wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
