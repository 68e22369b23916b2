"""What a published site has beside its chapters: addresses, descriptions, cards, a front page, a page for lost readers.

Where the site and its source lie is not known to the book. Two settings say it, in `_config.yml` or, stronger, in the
environment; while they are empty the pages are complete but for what would need them.

| setting | environment | gives |
|---|---|---|
| `site_address` | `COSTLAB_SITE` | canonical addresses, pictures on social cards, `sitemap.xml`, `robots.txt` |
| `site_repository` | `COSTLAB_REPOSITORY` | links to the repository and to each page's source |
"""

import os
import posixpath
import re
from collections.abc import Iterator
from datetime import date
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from costlab import catalog
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

from card import CARD, CARD_SIZE, card_text, draw_card

LOST = "404"
LOST_TEXT = """<h1>No such page</h1>
<p>Nothing lies at this address: a page may have moved, or the link that brought you here may have a slip in it.</p>
<p><a href="{home}">Begin at the front page</a>, or search the course with the button at the top.</p>"""
ICONS = {"favicon.ico": 'rel="icon" sizes="32x32"', "apple-touch-icon.png": 'rel="apple-touch-icon"'}
THEME_COLOURS = {"light": "#0f6674", "dark": "#16292d"}  # custom.css: the accent, and its soft twin in the dark
DESCRIPTION_LENGTH = 200  # characters; search engines and cards cut there or a little before

# -- settings -------------------------------------------------------------------------------------------------------


def settle(app: Sphinx, config: Config) -> None:
    """Take the addresses from the environment where it has them, and give Sphinx its own."""
    for setting, variable in (("site_address", "COSTLAB_SITE"), ("site_repository", "COSTLAB_REPOSITORY")):
        given = os.environ.get(variable) or config[setting]
        config[setting] = whole_address(given, f"{setting} ({variable})") if given else ""
    config.html_baseurl = config.site_address


def whole_address(text: str, what: str) -> str:
    """Return an address with a slash at its end.

    Raises:
        ExtensionError: not a whole web address.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ExtensionError(f"{what} is {text!r}; it should be like https://example.org/course/")
    return text.rstrip("/") + "/"


# -- each page ------------------------------------------------------------------------------------------------------


def complete_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give a page its head, what its foot shows, and the offer to run it."""
    context["data_date"] = spoken(newest_source())
    context["repository"] = app.config.site_repository
    context["page_source"] = source_address(app, pagename)
    if pagename == app.config.root_doc and app.config.site_address:
        context["pageurl"] = app.config.site_address
    if pagename == app.config.root_doc:
        context["docstitle"] = ""  # else its title says the course's name twice
    if pagename in (LOST, "search"):
        context["pageurl"] = None
    context["metatags"] = head(app, pagename, context, doctree)
    if pagename == "search":
        app.add_js_file("search-sections.js", loading_method="defer", priority=900)
    if 'class="math ' in context.get("body", ""):
        app.add_js_file("formulas.js", loading_method="defer")
    if "kernelspec" in app.env.metadata.get(pagename, {}):
        context["body"] += run_offer(context)


def newest_source() -> date:
    """Return the date of the newest source of a price, a model's configuration or a chip's data sheet."""
    tables = catalog.tables()
    dates = [row.date for row in tables.prices]
    dates += [row.date for row in tables.models.values()]
    dates += [row.date for row in tables.chips.values()]
    return max(dates)


def spoken(day: date) -> str:
    """Return a date as people write it: 1 June 2026."""
    return f"{day.day} {day:%B %Y}"


def source_address(app: Sphinx, pagename: str) -> str:
    """Return where the repository shows a page's source; "" where no repository is set, or the page has none."""
    if not app.config.site_repository or pagename not in app.env.all_docs:
        return ""
    path = Path(app.env.doc2path(pagename)).relative_to(app.srcdir).as_posix()
    return f"{app.config.site_repository}{app.config.site_source_path}{path}"


def head(app: Sphinx, pagename: str, context: dict[str, Any], doctree: nodes.document | None) -> str:
    """Return the page's meta elements: those it has, a description, a social card, icons and colours."""
    # the theme and the layout name the viewport, too; once is enough
    tags = re.sub(r'<meta [^>]*name="viewport"[^>]*>', "", context.get("metatags") or "")
    made = [f'<link {kind} href="{context["pathto"](name, True)}">' for name, kind in ICONS.items()]
    made += [
        f'<meta name="theme-color" content="{colour}" media="(prefers-color-scheme: {scheme})">'
        for scheme, colour in THEME_COLOURS.items()
    ]
    if doctree is not None:
        own = re.search(r'<meta [^>]*content="([^"]*)"[^>]*name="description"', tags)
        said = own[1] if own else escape(description(app.env.metadata.get(pagename, {}), doctree))
        made += [] if own else [f'<meta name="description" content="{said}">']
        made += card(app, context, said)
    return "\n    ".join([tags, *made])


def description(metadata: dict[str, Any], doctree: nodes.document) -> str:
    """Return what the metadata say under `description`, or the beginning of the first paragraph, or the title."""
    given = metadata.get("description")
    if given:
        return " ".join(str(given).split())
    paragraphs = (each for each in doctree.findall(nodes.paragraph) if isinstance(each.parent, nodes.section))
    titles = (each.astext() for each in doctree.findall(nodes.title))
    text = next((each.astext() for each in paragraphs), "") or next(titles, "")
    text = " ".join(re.sub(r"\s*\[[^\[\]]*\d{4}[a-z]?\]", "", text).split())  # without citations
    return shortened(text, DESCRIPTION_LENGTH)


def shortened(text: str, length: int) -> str:
    """Return whole sentences of a text that fit into a length, or, where the first does not, whole words and "…"."""
    if len(text) <= length:
        return text
    sentences = [text[: end.end()] for end in re.finditer(r"[.?!](?=\s)", text) if end.end() <= length]
    return sentences[-1] if sentences else text[: length - 1].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def card(app: Sphinx, context: dict[str, Any], said: str) -> list[str]:
    """Return Open Graph's elements, which other sites and chats draw a card of a link from."""
    title = re.sub(r"<[^>]+>", "", context["title"]).replace('"', "&quot;")  # is HTML already
    elements = {"og:type": "article", "og:site_name": escape(app.config.html_title), "og:title": title}
    elements |= {"og:description": said} if said else {}
    if context.get("pageurl"):
        elements |= {
            "og:url": escape(context["pageurl"]),
            "og:image": escape(f"{app.config.site_address}_static/{CARD}"),
            "og:image:width": str(CARD_SIZE[0]),
            "og:image:height": str(CARD_SIZE[1]),
            "og:image:alt": escape(card_text()),
        }
    found = [f'<meta property="{name}" content="{text}">' for name, text in elements.items()]
    return [*found, '<meta name="twitter:card" content="summary_large_image">']


def run_offer(context: dict[str, Any]) -> str:
    """Return the line that says where to get the page's notebook, and how to run it at home."""
    notebook = escape(context["pathto"](f"_sources/{context['sourcename']}", True))
    copy = "a copy of the course's repository"
    if context["repository"]:
        copy = f'a copy of <a href="{escape(context["repository"])}">the course\'s repository</a>'
    return (
        '<aside class="run-offer" aria-label="Run this page yourself"><p>'
        f'<a href="{notebook}" download>Download this page as a notebook</a>, or run it with all that it imports: '
        f"in {copy}, <code>make lab</code> opens JupyterLab on copies of the chapters and the labs.</p></aside>"
    )


# -- the site -------------------------------------------------------------------------------------------------------


def extra_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the page that hosts show where there is none."""
    home = app.builder.get_relative_uri(LOST, app.config.root_doc)
    yield LOST, {"title": "No such page", "body": LOST_TEXT.format(home=escape(home))}, "page.html"


def finish(app: Sphinx, error: Exception | None) -> None:
    """Complete the built site: card, front page, lost page, and the lists that search engines read."""
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    draw_card(site / "_static" / CARD)
    root = f"{app.config.root_doc}.html"
    front = (site / root).read_text(encoding="utf-8")
    (site / "index.html").write_text(moved(front, root), encoding="utf-8")
    lost = (site / f"{LOST}.html").read_text(encoding="utf-8")
    # a host shows it at any depth, so its links begin at the site's root
    path = urlsplit(app.config.site_address).path or "/"
    (site / f"{LOST}.html").write_text(moved(lost, posixpath.join(path, f"{LOST}.html")), encoding="utf-8")
    lists = search_engine_lists(app) if app.config.site_address else {}
    for name in ("robots.txt", "sitemap.xml"):
        if name in lists:
            (site / name).write_text(lists[name], encoding="utf-8")
        else:
            (site / name).unlink(missing_ok=True)


ADDRESS = re.compile(r'(?<=\s)(href|src|action|data-content_root)="(?!#|[a-z]+:|/)([^"]*)"')


def moved(html: str, place: str) -> str:
    """Return a page whose relative addresses, meant at `place`, work from where the page will lie.

    A place that begins with "/" makes them begin there, too; else they become relative to the site's root.
    """

    folder = posixpath.dirname(place)

    def again(found: re.Match[str]) -> str:
        path, rest = re.fullmatch(r"([^?#]*)(.*)", found[2], re.DOTALL).groups()  # type: ignore[union-attr]
        joined = posixpath.normpath(posixpath.join(folder, path))
        slash = "/" if path.endswith("/") and not joined.endswith("/") else ""
        return f'{found[1]}="{joined}{slash}{rest}"'

    return ADDRESS.sub(again, html)


def search_engine_lists(app: Sphinx) -> dict[str, str]:
    """Return the site's `robots.txt` and `sitemap.xml`."""
    site, root = app.config.site_address, app.config.root_doc
    pages = ["", *(f"{name}.html" for name in sorted(app.env.all_docs) if name != root)]
    rows = "".join(f"<url><loc>{escape(site + page)}</loc></url>\n" for page in pages)
    schema = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return {
        "robots.txt": f"User-agent: *\nAllow: /\n\nSitemap: {site}sitemap.xml\n",
        "sitemap.xml": f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{schema}">\n{rows}</urlset>\n',
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the settings and connect the steps."""
    app.add_config_value("site_address", "", "html", str)
    app.add_config_value("site_repository", "", "html", str)
    app.add_config_value("site_source_path", "blob/main/", "html", str)
    app.connect("config-inited", settle)
    app.connect("html-page-context", complete_page, priority=800)  # before bookfix and the security policy
    app.connect("html-collect-pages", extra_pages)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
