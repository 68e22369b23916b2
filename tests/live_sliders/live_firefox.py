"""Just enough of Marionette, Firefox's own remote protocol, to drive the system's Firefox without a driver."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 300  # a bound, never a wait: a busy machine is no failure

# Moves the first slider or list of the page's nth view to an end (the other one if it stands there), and waits until
# the page declares that the view shows what came of it, or that it failed.
MOVE = """
const view = document.querySelectorAll('[data-live-view]')[%d], end = '%s', other = end === 'max' ? 'min' : 'max';
const input = view.querySelector('input[type=range]') ?? view.querySelector('select');
const errors = []; document.addEventListener('securitypolicyviolation', (e) => errors.push(e.blockedURI));
const src = () => view.querySelector('.live-output img')?.src ?? view.querySelector('.live-output')?.innerHTML;
const before = src();
const list = input.localName === 'select', last = list ? input.options.length - 1 : 0;
const place = { max: list ? last : input.max, min: list ? 0 : input.min };
const now = () => String(list ? input.selectedIndex : input.value);
const put = (value) => { if (list) input.selectedIndex = value; else input.value = value; };
put(now() === String(place[end]) ? place[other] : place[end]);
for (const name of ['input', 'change']) input.dispatchEvent(new Event(name, {bubbles: true}));
await new Promise((resolve) => {
  const isAnswered = () => [view.dataset.liveShown, view.dataset.liveFailed]
    .some((number) => Number(number ?? -1) >= Number(view.dataset.liveMove));
  const look = () => { if (isAnswered()) resolve(); };
  new MutationObserver(look).observe(view, { attributes: true });
  look();
});
return { failed: Number(view.dataset.liveShown) < Number(view.dataset.liveMove),
  text: view.querySelector('.live-output').textContent.trim(),
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
        self.call("WebDriver:NewSession", {})
        self.call("WebDriver:SetTimeouts", {"script": TIMEOUT_S * 1000, "pageLoad": TIMEOUT_S * 1000})

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
        """Run the body of an async function in the page and return its value; what it throws is an error here."""
        answer = "then((value) => done([value, null]), (error) => done([null, `${error}\\n${error.stack}`]))"
        body = f"const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().{answer};"
        value, error = self.call("WebDriver:ExecuteAsyncScript", {"script": body, "args": []})["value"]
        assert error is None, error
        return value

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
    """Start Firefox with a fresh profile on a port that it chooses, and end it afterwards."""
    (profile / "user.js").write_text('user_pref("marionette.port", 0);\n')
    command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            with socket.create_connection(("127.0.0.1", _port(process)), timeout=TIMEOUT_S) as connection:
                yield Firefox(connection)
        finally:
            process.terminate()


def move(browser: Firefox, view: int, end: str) -> dict[str, Any]:
    """Move the first control of a page's nth view to "min" or "max"; fail unless its figure is drawn anew from here."""
    answer: dict[str, Any] = browser.run(MOVE % (view, end))
    assert not answer["failed"], answer
    assert answer["changed"], answer
    assert not answer["errors"], answer
    assert not answer["outside"], answer
    return answer


def _port(process: subprocess.Popen[str]) -> int:
    """The port that Firefox says it listens on; what it says later is read too, lest it wait."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Listening on port" in line:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return int(line.split()[-1])
    raise AssertionError("Firefox ended: " + "".join(said))
