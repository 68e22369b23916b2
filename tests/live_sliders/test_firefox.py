"""The same pages in Firefox."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_firefox import Firefox, firefox

MOVE = """
const view = document.querySelector('[data-live-view]');
const input = view.querySelector('input[type=range]');
const errors = []; document.addEventListener('securitypolicyviolation', (e) => errors.push(e.blockedURI));
const src = () => view.querySelector('img')?.src;
const before = src(), runs = Number(view.dataset.liveRuns ?? 0);
input.value = input.%s; input.dispatchEvent(new Event('input', {bubbles: true}));
const began = performance.now();
while (performance.now() - began < 100000) {
  await new Promise((next) => setTimeout(next, 30));
  if (view.dataset.liveStatus === 'failed' || (Number(view.dataset.liveRuns ?? 0) > runs && src() !== before)) break;
}
return { status: view.dataset.liveStatus, text: view.querySelector('.live-output').textContent.trim(),
  changed: src() !== before, errors,
  outside: performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin)) };
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """The system's Firefox."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox on this machine")
    with firefox(program, Path(tmp_path_factory.mktemp("profile"))) as started:
        yield started


def test_a_slider_redraws_its_figure(browser: Firefox, site: str) -> None:
    browser.open(site + "figure.html")
    for end, price in (("max", 100 / 3600 / 64), ("min", 0.1 / 3600 / 64)):
        answer = browser.run(MOVE % end)
        assert answer["status"] == "done", answer
        assert abs(float(answer["text"]) / price - 1) < 1e-9
        assert answer["changed"]
        assert not answer["errors"]
        assert not [name for name in answer["outside"] if not name.startswith("data:")]
