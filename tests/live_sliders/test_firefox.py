"""The same pages in Firefox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_firefox import Firefox, installed, move


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """The system's Firefox."""
    yield from installed(Path(tmp_path_factory.mktemp("profile")))


def test_a_slider_redraws_its_figure(browser: Firefox, site: str) -> None:
    browser.open(site + "figure.html")
    for end, price in (("max", 100 / 3600 / 64), ("min", 0.1 / 3600 / 64)):
        answer = move(browser, 0, end)
        assert abs(float(answer["text"]) / price - 1) < 1e-9
