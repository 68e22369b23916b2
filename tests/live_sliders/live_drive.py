"""Drives the sliders of any site that `live_sliders` built, and compares each answer with a kernel's.

The one entry is `check_page`: it takes a browser or a visitor, the site's address, a page's name and its notebook.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from live_oracle import Oracle, assert_same_text, run_notebook
from playwright.sync_api import Browser, BrowserContext, Page

TIMEOUT_MS = 300_000  # a bound, never a wait: a busy machine is no failure
QUIET_KINDS = ("log", "info", "debug")

# Moves the page's control of a model by the events that a browser sends.
MOVE = """([id, kind, state]) => {
  const root = document.querySelector(`[data-live-model="${id}"]`);
  const fire = (element, ...names) => names.forEach((name) => element.dispatchEvent(new Event(name, {bubbles: true})));
  const setValue = (element, value) => { element.value = value; fire(element, 'input', 'change'); };
  const inputs = root.matches('button') ? [root] : [...root.querySelectorAll('input, select, textarea')];
  if (inputs[0].type === 'radio') inputs[state.index].click();
  else if (inputs[0].type === 'checkbox') inputs[0].click();
  else if (inputs[0].localName === 'select') {
    inputs[0].selectedIndex = state.index;
    fire(inputs[0], 'input', 'change');
  } else if (kind === 'SelectionSlider') setValue(inputs[0], state.index);
  else if (kind === 'FloatLogSlider') setValue(inputs[0], state.position);
  else setValue(inputs[0], state.value);
}"""
RESET = """(id) => [...document.querySelectorAll(`[data-live-view="${id}"] .live-buttons button`)]
  .find((button) => button.textContent === 'Reset').click()"""
READ = """(id) => {
  const view = document.querySelector(`[data-live-view="${id}"]`);
  const parts = [...view.querySelectorAll('.live-output, .live-text')];
  const isShown = (element) => getComputedStyle(element).display !== 'none';
  const words = (part) => {
    const found = [], filter = (node) => {
      if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
      return isShown(node) ? NodeFilter.FILTER_SKIP : NodeFilter.FILTER_REJECT;
    };
    const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, filter);
    while (walker.nextNode()) found.push(walker.currentNode.data);
    return found.join(' ');
  };
  const { liveStatus, liveMove, liveShown } = view.dataset;
  return { status: liveStatus, answer: Number(liveShown) >= Number(liveMove ?? 0) ? 'shown' : 'failed',
    text: parts.map(words).join('\\n'),
    pictures: [...view.querySelectorAll('.live-output img')].map((picture) => picture.src.split(',')[1]),
    drawings: [...view.querySelectorAll('.live-output svg')].filter(isShown).map((drawing) => drawing.outerHTML) };
}"""
# What the page declares about itself (live_sliders/README.md): its controls answer; a view's last move has its answer.
ALIVE = "() => [...document.querySelectorAll('[data-live-view]')].every((view) => 'liveShown' in view.dataset)"
# Looks whenever the view's attributes change: asking in each frame would cost as much as what Python does meanwhile.
ANSWERED = """([id, patience]) => new Promise((resolve, reject) => {
  const view = document.querySelector(`[data-live-view="${id}"]`);
  const look = () => {
    const { liveMove, liveShown, liveFailed } = view.dataset;
    if ([liveShown, liveFailed].some((number) => Number(number ?? -1) >= Number(liveMove ?? 0))) resolve();
  };
  new MutationObserver(look).observe(view, { attributes: true });
  setTimeout(() => reject(new Error(`no answer: ${JSON.stringify(view.dataset)}`)), patience);
  look();
})"""
# A line where each byte is paid for: then Python starts at the first move, and pages that make none are spared it.
METERED = "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })"
FORMULAS = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"


class Visit:
    """One open page, with all that it complained about or asked for."""

    def __init__(self, page: Page, site: str) -> None:
        self.page, self.site = page, site
        self.complaints: list[str] = []
        self.outside: list[str] = []
        self._responses: list[Any] = []
        page.on("console", lambda m: m.type in QUIET_KINDS or self.complaints.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)
        page.on("response", lambda response: self._responses.append(response))

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.site, "data:", "blob:")):
            self.outside.append(request.url)

    def weight(self) -> int:
        """The bytes of all answers so far, as a host sends them: text compressed, as any public host does."""
        return sum(_sent_bytes(response) for response in self._responses if response.status == 200)

    def open(self, name: str) -> Visit:
        """Go to a page and wait until its formulas are set and its controls answer."""
        self.page.goto(self.site + name)
        self.page.evaluate(FORMULAS)
        self.page.wait_for_function(ALIVE)
        return self

    def plan(self) -> dict[str, Any]:
        """The page's plan."""
        return json.loads(self.page.text_content("#live-plan") or "{}")

    def read(self, view: str) -> dict[str, Any]:
        """A view's state, text and pictures."""
        return self.page.evaluate(READ, view)

    def move(self, view: str, model: str, kind: str, state: dict[str, Any]) -> dict[str, Any]:
        """Move one control, wait for the answer and read it."""
        self.begin(model, kind, state)
        return self.answer(view)

    def begin(self, model: str, kind: str, state: dict[str, Any]) -> None:
        """Move one control; `answer` then waits for what comes of it."""
        self.page.evaluate(MOVE, [model, kind, state])

    def reset(self, view: str) -> None:
        """Set all controls of a view back as a reader does."""
        self.page.evaluate(RESET, view)

    def answer(self, view: str) -> dict[str, Any]:
        """Wait until a view shows what came of its last move, or that it failed; read it."""
        self.page.evaluate(ANSWERED, [view, TIMEOUT_MS])
        return self.read(view)

    def assert_clean(self) -> None:
        """No console error and no request to another site."""
        assert not self.complaints, self.complaints
        assert not self.outside, self.outside


def _sent_bytes(response: Any) -> int:
    body = response.body()
    packed = "font" in response.url or response.headers.get("content-type", "").startswith("image/png")
    return (
        len(body)
        if packed and "javascript" not in response.headers.get("content-type", "")
        else len(gzip.compress(body))
    )


@contextmanager
def visit(by: Browser | BrowserContext, site: str, **context: Any) -> Iterator[Visit]:
    """The page of a fresh visitor, or of one who may have been here before: a context, with what its browser kept."""
    page = by.new_page(**context)
    page.set_default_timeout(TIMEOUT_MS)
    try:
        yield Visit(page, site)
    finally:
        page.close()


def ends(kind: str, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Both ends of a control, as the states to send, without the one where it stands; none for a fixed one."""
    if kind in ("IntSlider", "FloatSlider", "BoundedIntText", "BoundedFloatText"):
        return [{"value": value} for value in (state["min"], state["max"]) if value != state["value"]]
    if kind == "FloatLogSlider":
        places = [{"position": place, "value": state["base"] ** place} for place in (state["min"], state["max"])]
        return [place for place in places if place["value"] != state["value"]]
    if "_options_labels" in state and isinstance(state["index"], int):
        return [{"index": i} for i in sorted({0, len(state["_options_labels"]) - 1} - {state["index"]})]
    if kind == "Checkbox":
        return [{"value": not state["value"]}]
    if kind in ("Text", "Textarea"):
        return [{"value": "moved"}]
    return []


def check_page(by: Browser | BrowserContext, site: str, page: str, notebook: Path) -> int:
    """Move every control of every live view of a page to one end and to the other, then set the view back.

    Each is moved while the others stand where they were moved last, so that ends meet ends. After each move text and
    numbers must be the kernel's, and the pictures must look like the kernel's. Returns how many moves were compared.
    """
    with visit(by, site) as opened:
        opened.open(f"{page}.html")
        plan = opened.plan()
        opened.page.locator("[data-live-view]").first.scroll_into_view_if_needed()  # Python starts beside the kernel
        with run_notebook(notebook) as oracle:
            moves = sum(_check_view(opened, oracle, plan, view) for view in plan["views"])
        opened.assert_clean()
    return moves


def _check_view(opened: Visit, oracle: Oracle, plan: dict[str, Any], view: dict[str, Any]) -> int:
    theirs = oracle.view(view["cell"], view["nth"])
    models = [*zip(_saved_models(plan, view["model"]), oracle.models(theirs), strict=True)]
    saved = {mine: (plan["models"][mine]["kind"], dict(plan["models"][mine]["state"])) for mine, _ in models}
    rounds = [*zip_longest(*(ends(*saved[mine]) for mine, _ in models))]
    moves = [(pair, move) for each in rounds for pair, move in zip(models, each, strict=True) if move]
    before, kernel_before = opened.read(view["model"]), _shown(oracle, theirs)
    for (mine, their_model), move in moves:
        kind, state = saved[mine]
        where = f"{opened.page.url}, {state.get('description')} at {move}"
        opened.begin(mine, kind, move)  # page and kernel compute side by side
        oracle.set(their_model, {key: value for key, value in move.items() if key != "position"})
        after = opened.answer(view["model"])
        _assert_same(after, oracle, theirs, where)
        changed = any(before[part] != after[part] for part in ("pictures", "drawings"))
        kernel_after = _shown(oracle, theirs)
        assert changed == (kernel_before != kernel_after), f"{where}: not changed as the kernel's figure"
        before, kernel_before = after, kernel_after
    if moves:
        opened.reset(view["model"])
        for mine, their_model in models:
            if ends(*saved[mine]):
                oracle.set(their_model, _value(saved[mine][1]))
        _assert_same(opened.answer(view["model"]), oracle, theirs, f"{opened.page.url}, set back")
    return len(moves)


def _value(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in ("index", "value") if name in state}


def _shown(oracle: Oracle, view: str) -> list[str]:
    return oracle.pictures(view) + oracle.drawings(view)


def _assert_same(mine: dict[str, Any], oracle: Oracle, theirs: str, where: str) -> None:
    """The page's answer says and shows what the kernel's view does."""
    assert mine["answer"] == "shown", f"{where}: {mine}"
    assert_same_text(mine["text"], oracle.text(theirs), where)
    _assert_like(mine["pictures"], oracle.pictures(theirs), where)
    _assert_drawn_alike(mine["drawings"], oracle.drawings(theirs), where)


def _saved_models(plan: dict[str, Any], model: str) -> Iterator[str]:
    yield model
    for child in plan["models"][model]["state"].get("children", []):
        yield from _saved_models(plan, child.removeprefix("IPY_MODEL_"))


BLOCK = 8  # pixels: a line that lies half a pixel lower must not count, a line elsewhere must


def _assert_like(mine: list[str], theirs: list[str], where: str) -> None:
    """The same pictures, but for the rounding of other machine code, which layouts turn into fractions of a pixel."""
    import numpy as np

    assert len(mine) == len(theirs), f"{where}: {len(mine)} pictures, the kernel has {len(theirs)}"
    for pair in zip(mine, theirs, strict=True):
        one, other = (_blocks(each) for each in pair)
        assert np.abs(np.subtract(one.shape, other.shape)).max() <= 1, f"{where}: {one.shape}, {other.shape} blocks"
        rows, columns = (min(sizes) for sizes in zip(one.shape[:2], other.shape[:2], strict=True))
        difference = np.abs(one[:rows, :columns] - other[:rows, :columns])
        assert difference.mean() < 0.03, f"{where}: the figure differs from the notebook's"
        assert difference.max() < 0.5, f"{where}: part of the figure differs from the notebook's"


NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
PLACES = ("d", "points", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "viewBox")
CLIP = re.compile(r"\bp[0-9a-f]{10}\b")  # matplotlib's name for what clips: from its place, to a fraction of a pixel
APART = 6.0  # units: how far another machine's fonts may move a part of a drawing


def _assert_drawn_alike(mine: list[str], theirs: list[str], where: str) -> None:
    """The same elements in the same looks, at the same places but for other fonts' widths."""
    assert len(mine) == len(theirs), f"{where}: {len(mine)} drawings, the kernel has {len(theirs)}"
    for pair in zip(mine, theirs, strict=True):
        (looks, places), (kernel_looks, kernel_places) = (_parts(each) for each in pair)
        assert looks == kernel_looks, f"{where}: the drawing has other parts than the kernel's"
        far = [p for p in zip(places, kernel_places, strict=True) if abs(p[0] - p[1]) > APART]
        assert not far, f"{where}: parts of the drawing lie elsewhere than the kernel's: {far[:5]}"


def _parts(svg: str) -> tuple[list[Any], list[float]]:
    """Return a drawing's elements without their places, and all numbers of their places."""
    elements = list(ElementTree.fromstring(svg).iter())[1:]
    words = [(e.tag.split("}")[-1], (e.text or "").strip()) for e in elements]
    looks = [sorted((k, CLIP.sub("", v)) for k, v in e.attrib.items() if k not in PLACES) for e in elements]
    places = [float(n) for e in elements for name in PLACES for n in NUMBERS.findall(e.get(name, ""))]
    return [words, looks], places


def _blocks(picture: str) -> Any:
    """A picture's mean colours over small squares."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(base64.b64decode(picture)), format="png")[:, :, :3]
    rows, columns = (size // BLOCK for size in pixels.shape[:2])
    return pixels[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3).mean((1, 3))
