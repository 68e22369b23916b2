"""Each page of the book, opened once as a reader would: wide and narrow, light and dark, step by step, on paper."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from conftest import Site, toc_pages
from effort import is_full
from playwright.sync_api import Browser, BrowserContext, Page, Response

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
PAGES = [*toc_pages(), "search.html", "index.html", "404.html"]
FRONT = ("book/intro.html", "index.html")  # with a figure that recomputes, and no chapter: no number, no exercise

Looks = tuple[int, str]
# How a page is opened, and what it is changed to. A page has one of these, so that each is had by a quarter of them.
LOOKS: list[tuple[Looks, Looks]] = [
    ((1280, "light"), (390, "dark")),
    ((390, "light"), (1280, "dark")),
    ((1280, "dark"), (390, "light")),
    ((390, "dark"), (1280, "light")),
]

# --- what is looked at wherever a page is shown -----------------------------------------------------------------------

# Elements that reach beyond the screen although nothing around them scrolls.
OVERFLOWING = """() => {
  const root = document.documentElement, width = root.clientWidth;
  const scrolls = (e) => getComputedStyle(e).overflowX !== 'visible';
  const contained = (e) => e && e !== document.body && (scrolls(e) || contained(e.parentElement));
  const beyond = (e) => e.getBoundingClientRect().right > width + 1;
  const elements = [...document.querySelectorAll('main *')].filter((e) => beyond(e) && !contained(e));
  const page = root.scrollWidth > width + 1 ? [`page ${root.scrollWidth} > ${width}`] : [];
  return [...page, ...elements.map((e) => e.outerHTML.slice(0, 100))].slice(0, 3);
}"""

IMAGES_WITHOUT_TEXT = """() => [...document.querySelectorAll('main img')]
  .filter((e) => !e.alt.trim()).map((e) => e.outerHTML.slice(0, 100))"""

# The theme's script puts a drawing in the place of each icon's element; an icon that it lacks stays without a path.
ICONS_WITHOUT_DRAWING = """() => [...document.querySelectorAll('i[class*="fa-"], svg.svg-inline--fa')]
  .filter((e) => !e.querySelector('path')).map((e) => e.outerHTML.slice(0, 100))"""

# Texts that leave their drawing, lie on one another, or are too small: of the drawings that are shown now.
ILLEGIBLE = """(root) => [...(root ?? document).querySelectorAll('.drawing svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) return [];
  const title = svg.closest('.drawing').querySelector('.drawing-title')?.textContent ?? svg.getAttribute('aria-label');
  const texts = [...svg.querySelectorAll('text')].map((e) => ({
    words: e.textContent, box: e.getBoundingClientRect(),
    size: parseFloat(getComputedStyle(e).fontSize) * frame.width / svg.viewBox.baseVal.width,
  })).filter(({ words }) => words.trim());
  const outside = texts.filter(({ box }) => box.left < frame.left - 2 || box.right > frame.right + 2
    || box.top < frame.top - 2 || box.bottom > frame.bottom + 2).map(({ words }) => `outside: ${words}`);
  const small = texts.filter(({ size }) => size < 11.5).map(({ words, size }) => `${size.toFixed(1)} px: ${words}`);
  const across = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const upon = texts.flatMap((a, i) => texts.slice(i + 1)
    .filter((b) => across(a.box, b.box) > 2 && down(a.box, b.box) > 4)
    .map((b) => `one on another: ${a.words} | ${b.words}`));
  return [...outside, ...small, ...upon].slice(0, 3).map((text) => `${title.slice(0, 50)}: ${text}`);
})"""

# Drawings of the other width; and a page that has drawings must show some.
OTHER_DRAWINGS = """(variant) => {
  const all = [...document.querySelectorAll('.drawing svg')];
  const shown = all.filter((e) => e.getBoundingClientRect().width).map((e) => e.classList[0]);
  return all.length && !shown.length ? ['none is shown'] : shown.filter((each) => each !== variant);
}"""

# Of all elements with text in one ink, size and weight upon one ground, three: they have one contrast, and what axe
# asks about each element's ground takes longer than all its other rules. (It takes no text of an SVG for text.)
INKS = """() => {
  const grounds = new Map([[null, '']]), inks = new Map();
  const ground = (e) => {
    if (!grounds.has(e)) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
      const own = `${backgroundColor} ${backgroundImage} ${opacity}`, below = ground(e.parentElement);
      grounds.set(e, own === 'rgba(0, 0, 0, 0) none 1' ? below : `${below}, ${own}`);
    }
    return grounds.get(e);
  };
  for (const e of document.querySelectorAll('body, body :not(svg, svg *, script, style)')) {
    const hasText = [...e.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!(hasText || e.matches('input, select, textarea'))) continue;
    if (!e.checkVisibility({ visibilityProperty: true })) continue;
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(e);
    const ink = [color, fontSize, fontWeight, textShadow, ground(e)].join();
    inks.set(ink, [...(inks.get(ink) ?? []), e].slice(0, 3));
  }
  return [...inks.values()].flat();
}"""

# Most of a page's elements, of which axe has nothing to say, or has said it of three of their like: the insides of
# drawings and of set formulas, of which it looks at name and role, and at the text for screen readers; the words of
# code, but for the inks that are asked about; and rows of tables whose every cell is built as cells of rows before.
# Taken out until given back; drawings, formulas and tables stay as large as they were.
MUTE = """() => {
  const isSpeaking = (e) => [...e.attributes].some(({ name }) => /^(role|tabindex|href|lang|aria-.*)$/.test(name));
  const all = [...document.querySelectorAll('svg[role="img"], mjx-math[aria-hidden="true"]')];
  const mute = all.filter((e) => e.isConnected && ![...e.querySelectorAll('*')].some(isSpeaking)).map((e) => {
    const style = e.style.cssText, nodes = [...e.childNodes], { width, height } = e.getBoundingClientRect();
    return { e, style, nodes, width, height };
  });
  for (const { e, nodes, width, height } of mute) {
    const box = `; display: inline-block; width: ${width}px; height: ${height}px`;
    if (e.localName === 'mjx-math') e.style.cssText += box;
    e.replaceChildren(...nodes.filter((node) => ['title', 'desc'].includes(node.localName)));
  }
  const isWord = (e) => e.localName === 'span' && ![...e.attributes].some(({ name }) => !/^(class|id)$/.test(name));
  const isInked = (e) => e.matches?.('[data-ink]') || e.querySelector?.('[data-ink]');
  const code = [...document.querySelectorAll('.highlight pre')]
    .filter((e) => [...e.querySelectorAll('*:not([data-ink])')].every(isWord)).map((e) => [e, [...e.childNodes]]);
  code.forEach(([e, nodes]) => e.replaceChildren(...nodes.map((node) => isInked(node) ? node : node.textContent)));
  const says = ({ name, value }) => /^(id|href|src|alt|title|data-.*)$/.test(name) ? !value.trim() : value;
  const own = (e) => [e.localName, !e.textContent.trim(), ...[...e.attributes].map((each) => [each.name, says(each)])];
  const build = (e) => [...own(e), ...[...e.children].map(build)];
  const seen = new Map();
  const isNew = (cell) => {
    const built = JSON.stringify([own(cell.parentElement), build(cell)]), times = seen.get(built) ?? 0;
    seen.set(built, times + 1);
    return times < 3;
  };
  const tables = [...document.querySelectorAll('table')].map((e) => [e, e.style.cssText, e.getBoundingClientRect()]);
  for (const [e, style, { width, height }] of tables) {
    e.style.cssText = `${style}; min-width: ${Math.floor(width)}px; height: ${Math.floor(height)}px`;
  }
  const rows = [...document.querySelectorAll('tbody > tr')]
    .filter((e) => ![...e.children].map(isNew).some(Boolean) && !isInked(e)).map((e) => {
      const blank = document.createComment('');
      e.replaceWith(blank);
      return [blank, e];
    });
  return () => {
    rows.forEach(([blank, e]) => blank.replaceWith(e));
    tables.forEach(([e, style]) => { e.style.cssText = style; });
    code.forEach(([e, nodes]) => e.replaceChildren(...nodes));
    mute.forEach(({ e, style, nodes }) => {
      e.replaceChildren(...nodes);
      e.style.cssText = style;
    });
  };
}"""

# In one run, for axe draws up anew in each where everything lies. preload: it would fetch the styles that others
# import, from wrong addresses.
ACCESSIBILITY = f"""async (rules) => {{
  const inks = ({INKS})();
  inks.forEach((e) => e.setAttribute('data-ink', ''));
  const giveBack = ({MUTE})();
  axe.configure({{ rules: [{{ id: 'color-contrast', selector: '[data-ink]' }}] }});
  const {{ violations }} = await axe.run({{
    resultTypes: ['violations'], preload: false, ...(rules && {{ runOnly: {{ type: 'rule', values: rules }} }}) }});
  giveBack();
  inks.forEach((e) => e.removeAttribute('data-ink'));
  return violations.map((v) =>
    `${{v.id}}: ${{v.help}}: ${{v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 3).join(' | ')}}`);
}}"""

# What another width or scheme may change: asked in a page's second look where the tests run in full. All rules are
# asked in its first, and each of the four looks is some chapter's first.
RULES_OF_LOOKS = [
    "aria-hidden-focus", "button-name", "color-contrast", "image-alt", "label", "link-in-text-block", "link-name",
    "role-img-alt", "scrollable-region-focusable", "svg-img-alt", "target-size",
]  # fmt: skip

CHECKS = {
    "overflow": OVERFLOWING,
    "no alternative text": IMAGES_WITHOUT_TEXT,
    "icon without drawing": ICONS_WITHOUT_DRAWING,
    "illegible": ILLEGIBLE,
}


def seen(page: Page, width: int, scheme: str, rules: Sequence[str] | None) -> list[str]:
    """What is wrong with a page as it is shown now; of axe's rules some are asked, none, or with None all."""
    found = [f"{check}: {text}" for check, script in CHECKS.items() for text in page.evaluate(script)]
    if rules != []:
        found += [f"accessibility: {text}" for text in page.evaluate(ACCESSIBILITY, rules)]
    variant = "drawing-wide" if width > 1000 else "drawing-narrow"
    found += [f"drawing of another width: {each}" for each in page.evaluate(OTHER_DRAWINGS, variant)]
    found += steps(page)
    if width > 1000:
        found += [f"code wider than its box: {line}" for line in page.evaluate(WIDE_CODE, CODE)]
    return [f"{width} px, {scheme}: {each}" for each in found]


# --- drawings in steps ------------------------------------------------------------------------------------------------

# From one step on by the right arrow, as many as are given: what each step shows, whether its buttons lead nowhere, and
# what is illegible in it.
STEPS = f"""(host, more) => {{
  const [back, forth] = ['Back', 'Next'].map((name) => [...host.querySelectorAll('button')].find((e) =>
    e.textContent.includes(name)));
  const shown = () => [
    [host.dataset.step,
      [...host.querySelectorAll('.drawing-frame')].flatMap((e, i) => e.getBoundingClientRect().height ? [i + 1] : []),
      host.querySelector('[role=status]').innerText],
    [back.disabled, forth.disabled], ({ILLEGIBLE})(host)];
  const all = [shown()];
  for (let nth = 0; nth < more; nth += 1) {{
    host.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'ArrowRight', bubbles: true, cancelable: true }}));
    all.push(shown());
  }}
  return all;
}}"""
TO_THE_FIRST = """(host) => {
  const back = host.querySelector('button');
  for (let left = 99; left && !back.disabled; left -= 1) back.click();
}"""


def steps(page: Page) -> list[str]:
    """Go through each row of frames, by button and by keys: one is shown at a time, and it is legible."""
    found = []
    for host in page.locator(".drawing-frames").all():
        last = host.locator(".drawing-frame").count()
        shown = host.evaluate(STEPS, 0)
        host.get_by_role("button", name="Next").click()
        shown += host.evaluate(STEPS, last - 2)
        for step, (now, stops, illegible) in enumerate(shown, start=1):
            wanted = [str(step), [step], f"Step {step} of {last}"]
            found += [f"step {now}, not {wanted}"] if now != wanted else []
            found += [f"illegible, step {step}: {text}" for text in illegible]
            if stops != [step == 1, step == last]:
                found.append(f"step {step}: buttons lead where there is no step, or do not lead on")
        host.press("ArrowLeft")
        if host.get_attribute("data-step") != str(last - 1):
            found.append("the left arrow does not step back")
        host.evaluate(TO_THE_FIRST)
    return found


# --- code that fits ---------------------------------------------------------------------------------------------------

# Code is written by us and fits. What a program printed, a cell's output or a console's text, may scroll.
CODE = "article :is(.cell_input, div[class*='highlight-']:not(.cell_output *, .highlight-none, .highlight-console)) pre"
# The code that is wider than its box, folded code included; the first line of each.
WIDE_CODE = """(code) => {
  const folded = [...document.querySelectorAll('details:not([open])')];
  const hidden = [...document.querySelectorAll('.toggle-hidden')];
  folded.forEach((e) => { e.open = true; });
  hidden.forEach((e) => e.classList.remove('toggle-hidden'));
  const wide = [...document.querySelectorAll(code)].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const lines = wide.map((e) => e.textContent.slice(0, 80));
  folded.forEach((e) => { e.open = false; });
  hidden.forEach((e) => e.classList.add('toggle-hidden'));
  return lines;
}"""

# --- formulas ---------------------------------------------------------------------------------------------------------

# Math of the page's source that is not set, and formulas that are stops for Tab although the screen is wide.
FORMULAS = """() => {
  const set = [...document.querySelectorAll('mjx-container')];
  const lost = document.querySelector('.math') && !set.length ? ['no formula is set'] : [];
  return [...lost, ...set.filter((e) => e.tabIndex === 0).map((e) => `a stop for Tab: ${e.textContent.slice(0, 60)}`)];
}"""

# --- on paper ---------------------------------------------------------------------------------------------------------

PAPER = {"width": 665, "height": 980}  # CSS pixels between the margins of A4 in print.css
ON_PAPER = """() => {
  const isVisible = (e) => e.checkVisibility({ checkVisibilityCSS: true });
  const all = (css) => [...document.querySelectorAll(css)];
  const clicked = all('.bd-sidebar-primary, .bd-header-article, .prev-next-footer, .headerlink, .copybtn, .run-offer, '
    + '.live-row, .live-note').filter(isVisible).map((e) => `for clicks: ${e.outerHTML.slice(0, 80)}`);
  const wide = all('article pre').filter((e) => e.scrollWidth > e.clientWidth + 1)
    .map((e) => `too wide: ${e.textContent.slice(0, 80)}`);
  const solutions = all('article .solution :is(p, pre):not(details *)');
  const folded = solutions.filter((e) => !isVisible(e)).map((e) => `folded: ${e.outerHTML.slice(0, 80)}`);
  const title = document.querySelector('article h1').innerText, ink = getComputedStyle(document.body).color;
  return [...clicked, ...wide, ...folded, ...(solutions.length ? [] : ['no solution']),
    ...(/^\\d+\\. /.test(title) ? [] : [`no number: ${title}`]), ...(ink === 'rgb(17, 17, 17)' ? [] : [`ink ${ink}`])];
}"""


def printed(page: Page) -> list[str]:
    """What is wrong with a chapter on paper, whichever scheme its reader's screen has."""
    page.set_viewport_size(PAPER)
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(media="print", color_scheme=scheme)
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        found += [f"paper, {scheme}: {text}" for text in page.evaluate(ON_PAPER)]
    return found


# --- the page ---------------------------------------------------------------------------------------------------------

FIRST_LOAD_BYTES = 1_500_000
# A reader who pays for bytes: Python starts at a touch only, so that it computes nothing here.
METERED = "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })"
# Formulas are set, the page has seen its new size and scheme, its colours are where they go, and the theme, which takes
# its time after a change of size, has made what scrolls a stop for Tab. All waits have an end: what is seen then tells.
SETTLED = """async () => {
  await window.MathJax?.startup?.promise;
  const frame = () => Promise.race([new Promise(requestAnimationFrame), new Promise((go) => setTimeout(go, 1000))]);
  for (let frames = 0; frames < 2; frames += 1) await frame();
  document.getAnimations().filter((e) => e.effect.getComputedTiming().endTime < Infinity).forEach((e) => e.finish());
  const scrolls = (e) => (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight) && e.clientWidth;
  const may = [...document.querySelectorAll('pre, .cell_output > .output, .pst-scrollable-table-container')];
  const isLate = () => may.some((e) => scrolls(e) && e.tabIndex < 0);
  for (let left = 40; left && isLate(); left -= 1) await new Promise((go) => setTimeout(go, 50));
  return document.documentElement.dataset.theme;
}"""


@cache
def sent_bytes(file: Path) -> int:
    """A file's bytes as public hosts send them: text compressed."""
    data = file.read_bytes()
    return len(data) if file.suffix in (".png", ".woff2", ".ttf") else len(gzip.compress(data))


def weight(folder: Path, loaded: list[str]) -> int:
    """The bytes of all that a page loaded from a site's folder."""
    paths = (unquote(urlsplit(address).path).lstrip("/") for address in loaded if address.startswith("http"))
    return sum(sent_bytes(folder / path) for path in paths if (folder / path).is_file())


@pytest.fixture(scope="module")
def reader(browser: Browser) -> Iterator[BrowserContext]:
    """Someone who reads page after page."""
    context = browser.new_context()
    context.add_init_script(METERED)
    yield context
    context.close()


def faults(
    reader: BrowserContext, site: Site, name: str, looks: tuple[Looks, ...], second: Sequence[str] = RULES_OF_LOOKS
) -> list[str]:
    """Open a page and list everything that is wrong with it; `second`: the rules of axe that a second look asks."""
    found: list[str] = []
    loaded: list[str] = []

    def answered(reply: Response) -> None:
        loaded.append(reply.url)
        if reply.status >= 400:
            found.append(f"{reply.status}: {reply.url}")

    page = reader.new_page()
    page.bring_to_front()
    page.on("console", lambda message: message.type == "error" and found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed request: {request.url}"))
    page.on("response", answered)
    for nth, (width, scheme) in enumerate(looks):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        if not nth:
            page.goto(site.url + name)
        theme = page.evaluate(SETTLED)
        if not nth:
            page.evaluate(AXE)
            sent = weight(site.folder, loaded)
            found += [f"weight: {sent:,} bytes before the first touch"] if sent > FIRST_LOAD_BYTES else []
        found += [f"scheme: {theme}, asked for {scheme}"] if theme not in (scheme, None) else []
        found += seen(page, width, scheme, second if nth else None)
        found += page.evaluate(FORMULAS) if width > 1000 else []
    if 'class="live"' in (site.folder / name).read_text() and name not in FRONT:
        found += printed(page)
    page.close()
    return found


@pytest.mark.parametrize(("nth", "name"), [*enumerate(PAGES)], ids=PAGES)
def test_page_is_sound(reader: BrowserContext, site: Site, nth: int, name: str) -> None:
    found = faults(reader, site, name, LOOKS[nth % len(LOOKS)], RULES_OF_LOOKS if is_full() else [])
    assert not found, "\n".join(found)


def test_without_scripts_all_frames_stand_in_the_page(browser: Browser, site: Site) -> None:
    name = next(page for page in PAGES if "drawing-frames" in (site.folder / page).read_text())
    page = browser.new_page(java_script_enabled=False)
    page.goto(site.url + name)
    assert all(frame.is_visible() for frame in page.locator(".drawing-frame").all())
    page.close()


# --- the checks can fail ----------------------------------------------------------------------------------------------

FRAME = """<div class="drawing-frame" {}><div class="drawing"><svg class="drawing-wide" role="img" aria-label="a"
  viewBox="0 0 100 50"><text x="10" y="20" font-size="{}">step</text></svg></div></div>"""
BROKEN = f"""<!doctype html><html lang="en" data-theme="light"><title>Broken</title>
<style>.drawing svg {{ width: 600px }} pre {{ width: 200px; overflow: auto }} [hidden] {{ display: none }}</style>
<main><article><h1>Broken</h1><div class="live"></div><p class="live-note">Move a control.</p>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><img src="https://example.org/x.png" alt="elsewhere">
<img src="missing.png" alt="missing"><img src="big.png" alt="big"><div style="width: 3000px">wide</div>
<p style="color: #ccc; background: #fff">hard to read</p><i class="fa-solid fa-none"></i>
<mjx-container tabindex="0">x</mjx-container><svg role="img" aria-label="parts"><g role="none-such"></g></svg>
<div class="drawing"><p class="drawing-title">What is wrong?</p>
<svg class="drawing-wide" role="img" viewBox="0 0 100 50"><text x="10" y="20" font-size="11">one name</text>
<text x="12" y="21" font-size="11">another</text><text x="90" y="40" font-size="11">too far right</text>
<text x="1" y="48" font-size="1">tiny</text></svg>
<svg class="drawing-narrow" role="img" aria-label="narrow" viewBox="0 0 100 50"></svg></div>
<div class="drawing-frames" data-step="3"><button disabled>Back</button><button>Next</button>
<span role="status">Step 1 of 2</span>
{FRAME.format("", 11)}{FRAME.format("hidden", 1)}</div>
<div><details><div class="cell_input"><pre>folded{50 * "x"}</pre></div></details></div>
<div><div class="highlight-python"><pre>short</pre></div></div>
<div><div class="highlight-python"><pre>plain{50 * "x"}</pre></div></div>
<table><tbody>{9 * "<tr><td>like</td></tr>"}<tr><td><a href="#"></a></td></tr></tbody></table>
<div class="highlight"><pre><span class="k">for</span><button></button></pre></div>
<div class="cell_output"><div class="highlight-none"><pre>output{50 * "x"}</pre></div></div>
</article></main><script>
document.querySelectorAll('button')[1].addEventListener('click', () => {{
  const [one, two] = document.querySelectorAll('.drawing-frame'); one.hidden = true; two.hidden = false;
}});
console.error("said"); throw new Error("thrown")</script></html>"""

FAULTS_OF_BROKEN = [
    "console: said",
    "page error: thrown",
    "failed request: https://example.org/x.png",
    "404: ",
    "weight: 1,6",
    "scheme: light, asked for dark",
    "a stop for Tab: x",
    "390 px, dark: overflow: page",
    "390 px, dark: no alternative text: ",
    "390 px, dark: icon without drawing: ",
    "390 px, dark: drawing of another width: drawing-wide",
    "390 px, dark: accessibility: color-contrast",
    "390 px, dark: accessibility: image-alt",
    "390 px, dark: accessibility: aria-roles",
    "390 px, dark: accessibility: link-name",
    "390 px, dark: accessibility: button-name",
    "1280 px, light: drawing of another width: drawing-narrow",
    "1280 px, light: illegible: What is wrong?: outside: too far right",
    "1280 px, light: illegible: What is wrong?: 6.0 px: tiny",
    "1280 px, light: illegible: What is wrong?: one on another: one name | another",
    "1280 px, light: step ['3', [2], 'Step 1 of 2'], not ['2', [2], 'Step 2 of 2']",
    "1280 px, light: step 2: buttons lead ",
    "1280 px, light: illegible, step 2: a: 6.0 px: step",
    "1280 px, light: the left arrow ",
    "1280 px, light: code wider than its box: folded",
    "1280 px, light: code wider than its box: plain",
    "1280 px, light: accessibility: svg-img-alt",
    "paper, light: for clicks: ",
    "paper, light: too wide: plain",
    "paper, light: no solution",
    "paper, light: no number: Broken",
    "paper, dark: ink rgb(0, 0, 0)",
]


def test_the_checks_can_fail(reader: BrowserContext, serve: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "broken.html").write_text(BROKEN)
    (tmp_path / "big.png").write_bytes(bytes(1_600_000))
    found = faults(reader, Site(tmp_path, serve(tmp_path), []), "broken.html", ((390, "dark"), (1280, "light")))
    missed = [fault for fault in FAULTS_OF_BROKEN if not any(text.startswith(fault) for text in found)]
    assert not missed, "\n".join(found)
    assert not [text for text in found if "code wider" in text and ("output" in text or "short" in text)]
