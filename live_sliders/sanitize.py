"""HTML from a cell's output, made safe for the static view: the same lists as the page's ``sanitize.mjs``.

The text is parsed and written anew from what is on the lists, everything else is escaped or left out.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

ELEMENTS = frozenset(
    """
    a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2
    h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody
    td tfoot th thead tr u ul var
    """.split()  # noqa: SIM905
)
VOID = frozenset({"br", "col", "hr", "img"})
DROPPED = frozenset(
    """
    script style template noscript iframe object embed svg math head title textarea select noembed
    noframes xmp plaintext
    """.split()  # noqa: SIM905
)
ATTRIBUTES = frozenset(
    """
    abbr align alt class colspan dir headers height href lang open role rowspan scope span src start
    style title valign width
    """.split()  # noqa: SIM905
)
SAFE_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", re.IGNORECASE)
SAFE_LINK = re.compile(r"(https?:|mailto:|[^:]*$|[^:]*[/?#])", re.IGNORECASE)
SAFE_STYLE = re.compile(
    r"(color|background-color|font-(weight|style|size|family)|text-(align|decoration|indent)|vertical-align|"
    r"white-space|width|height|(min|max)-(width|height)|"
    r"(margin|padding|border)(-(top|right|bottom|left|color|style|width|radius|collapse|spacing))*|list-style-type)"
)
UNSAFE_VALUE = re.compile(r"url|image|var|expression|[\\\\<>]", re.IGNORECASE)
BLANKS = re.compile(r"[\x00-\x20]")


def sanitize(html: str) -> str:
    """The harmless part of ``html``."""
    writer = _Writer()
    writer.feed(html)
    writer.close()
    return "".join([*writer.parts, *(f"</{name}>" for name in reversed(writer.open))])


class _Writer(HTMLParser):
    """Writes elements on the list, closing each that it opened, and skips the content of dropped ones."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.open: list[str] = []
        self._dropping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED or self._dropping:
            self._dropping += [tag] if tag in DROPPED - {"embed"} else []
        elif tag in ELEMENTS:
            self.parts.append(f"<{tag}{''.join(map(_attribute, attrs))}>")
            self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        if self._dropping:
            if tag == self._dropping[-1]:
                self._dropping.pop()
        elif tag in self.open:
            while (name := self.open.pop()) != tag:
                self.parts.append(f"</{name}>")
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._dropping:
            self.parts.append(escape(data))


def _attribute(item: tuple[str, str | None]) -> str:
    name, value = item[0], item[1] or ""
    if name == "style":
        value = _safe_style(value)
    if name == "src" and not SAFE_IMAGE.match(value):
        return ""
    if name == "href" and not SAFE_LINK.match(BLANKS.sub("", value)):
        return ""
    allowed = name in ATTRIBUTES or re.fullmatch(r"aria-[a-z]+", name)
    return f' {name}="{escape(value)}"' if allowed else ""


def _safe_style(text: str) -> str:
    pairs = (declaration.partition(":") for declaration in text.split(";"))
    kept = [f"{name.strip()}:{value.strip()}" for name, _, value in pairs if _is_safe_style(name.strip(), value)]
    return ";".join(kept)


def _is_safe_style(name: str, value: str) -> bool:
    return bool(SAFE_STYLE.fullmatch(name.lower())) and not UNSAFE_VALUE.search(value)
