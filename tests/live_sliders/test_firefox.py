"""The same pages in Firefox."""

from __future__ import annotations

from live_firefox import Firefox, move


def test_a_slider_redraws_its_figure(fox: Firefox, site: str) -> None:
    fox.open(site + "figure.html")
    for end, price in (("max", 100 / 3600 / 64), ("min", 0.1 / 3600 / 64)):
        answer = move(fox, 0, end)
        assert abs(float(answer["text"]) / price - 1) < 1e-9
