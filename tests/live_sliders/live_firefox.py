"""Just enough of Marionette, Firefox's own remote protocol, to drive the system's Firefox without a driver."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT_S = 60.0
SCRIPT_TIMEOUT_MS = 120_000

# Moves the first slider or list of the page's nth view to an end (the other one if it stands there), and waits.
MOVE = """
const view = document.querySelectorAll('[data-live-view]')[%d], end = '%s', other = end === 'max' ? 'min' : 'max';
const input = view.querySelector('input[type=range]') ?? view.querySelector('select');
const errors = []; document.addEventListener('securitypolicyviolation', (e) => errors.push(e.blockedURI));
const src = () => view.querySelector('img')?.src;
const before = src(), runs = Number(view.dataset.liveRuns ?? 0);
const list = input.localName === 'select', last = list ? input.options.length - 1 : 0;
const place = { max: list ? last : input.max, min: list ? 0 : input.min };
const now = () => String(list ? input.selectedIndex : input.value);
const put = (value) => { if (list) input.selectedIndex = value; else input.value = value; };
put(now() === String(place[end]) ? place[other] : place[end]);
for (const name of ['input', 'change']) input.dispatchEvent(new Event(name, {bubbles: true}));
const began = performance.now();
while (performance.now() - began < 100000) {
  await new Promise((next) => setTimeout(next, 30));
  if (view.dataset.liveStatus === 'failed' || (Number(view.dataset.liveRuns ?? 0) > runs && src() !== before)) break;
}
return { status: view.dataset.liveStatus, text: view.querySelector('.live-output').textContent.trim(),
  changed: src() !== before, errors,
  outside: performance.getEntriesByType('resource').map((e) => e.name)
    .filter((name) => !name.startsWith(location.origin) && !name.startsWith('data:')) };
"""


class Firefox:
    """A connection to a running Firefox."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._serial = 0
        self._read()  # its greeting
        timeouts = {"script": SCRIPT_TIMEOUT_MS, "pageLoad": SCRIPT_TIMEOUT_MS}
        self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"timeouts": timeouts}}})

    def call(self, command: str, parameters: dict[str, Any]) -> Any:
        """Send one command and return what it gives."""
        self._serial += 1
        text = json.dumps([0, self._serial, command, parameters])
        self._connection.sendall(f"{len(text.encode())}:{text}".encode())
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("WebDriver:Navigate", {"url": address})

    def run(self, script: str) -> Any:
        """Run the body of an async function in the page and return its value."""
        answer = "then(arguments[arguments.length - 1], (error) => arguments[arguments.length - 1](String(error)))"
        body = f"(async () => {{ {script} }})().{answer};"
        return self.call("WebDriver:ExecuteAsyncScript", {"script": body, "args": []})["value"]

    def _read(self) -> Any:
        digits = b""
        while not digits.endswith(b":"):
            digits += self._connection.recv(1)
        wanted, data = int(digits[:-1]), b""
        while len(data) < wanted:
            data += self._connection.recv(wanted - len(data))
        return json.loads(data)


@contextmanager
def firefox(program: str, profile: Path) -> Iterator[Firefox]:
    """Start Firefox with a fresh profile on a free port, and end it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
    command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _connect(port) as connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)


def installed(profile: Path) -> Iterator[Firefox]:
    """Start the system's Firefox for a fixture; skip the test where there is none."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox on this machine")
    with firefox(program, profile) as started:
        yield started


def move(browser: Firefox, view: int, end: str) -> dict[str, Any]:
    """Move the first control of a page's nth view to "min" or "max"; fail unless its figure is drawn anew from here."""
    answer: dict[str, Any] = browser.run(MOVE % (view, end))
    assert answer["status"] == "done", answer
    assert answer["changed"], answer
    assert not answer["errors"], answer
    assert not answer["outside"], answer
    return answer


def _connect(port: int) -> socket.socket:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            connection.settimeout(SCRIPT_TIMEOUT_MS / 1000)
            return connection
