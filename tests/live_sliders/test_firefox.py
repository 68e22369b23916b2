"""The same pages in Firefox."""

from __future__ import annotations

from live_firefox import Firefox, move


def test_a_slider_redraws_its_figure(fox: Firefox, site: str) -> None:
    fox.open(site + "figure.html")
    for end, price in (("max", 100 / 3600 / 64), ("min", 0.1 / 3600 / 64)):
        answer = move(fox, 0, end)
        assert abs(float(answer["text"]) / price - 1) < 1e-9


# Waits until the page's view shows its last move.
SHOWN = """
const view = document.querySelector('[data-live-view]');
await new Promise((resolve) => {
  const look = () => { if (Number(view.dataset.liveShown) >= Number(view.dataset.liveMove)) resolve(); };
  new MutationObserver(look).observe(view, { attributes: true });
  look();
});
"""
TYPE = """
const field = document.querySelector('.live-field');
field.value = '1.5 TB';
for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {bubbles: true}));
"""
SAID = (
    "return [view.querySelector('.live-output').textContent, document.querySelector('[data-live-number]').textContent]"
)


def test_an_address_is_restored_and_a_typed_value_fills_the_prose(fox: Firefox, site: str) -> None:
    fox.open(site + "numbers.html#hit-rate=0.5")
    text, _ = fox.run(SHOWN + SAID)
    assert "0.05 TB, 0.5 hits" in text
    text, prose = fox.run(TYPE + SHOWN + SAID)
    assert "1.5 TB, 0.5 hits" in text
    assert prose == "1,500 GB"
    assert fox.run("return getComputedStyle(document.querySelector('.live-veil')).visibility") == "hidden"
