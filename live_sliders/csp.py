"""A strict Content-Security-Policy as a meta tag, for hosts that only serve files.

Scripts come from the site itself. The theme's own inline scripts are admitted one by one, by the hash of their
text; scripts inside a cell's output are not. Inline styles stay allowed: themes, MathJax
and tables use them, and they cannot run code.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

JAVASCRIPT_TYPES = {"", "text/javascript", "application/javascript", "module"}
META = re.compile(r'\n<meta http-equiv="Content-Security-Policy"[^>]*>')
HEAD = re.compile(r"<head(?:\s[^>]*)?>(?:\s*<meta charset=[^>]*>)?", re.IGNORECASE)


class _InlineScripts(HTMLParser):
    """Collects inline scripts and event handlers that stand outside the outputs of cells."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self._divs_in_output = 0
        self._open: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "div" and (self._divs_in_output or "cell_output" in (values.get("class") or "").split()):
            self._divs_in_output += 1
        if self._divs_in_output:
            return
        self.handlers += [value for name, value in attrs if name.startswith("on") and value]
        if tag == "script" and "src" not in values and (values.get("type") or "") in JAVASCRIPT_TYPES:
            self._open = []

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._divs_in_output -= tag == "div" and self._divs_in_output > 0
        if tag == "script" and self._open is not None:
            self.scripts.append("".join(self._open))
            self._open = None


def policy(html: str) -> str:
    """Return the policy for one page, with the hashes of its theme's inline scripts."""
    found = _InlineScripts()
    found.feed(html)
    scripts = [_hash(text) for text in dict.fromkeys(found.scripts)]
    if found.handlers:
        scripts += ["'unsafe-hashes'", *(_hash(text) for text in dict.fromkeys(found.handlers))]
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self' 'wasm-unsafe-eval'", *scripts]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def with_policy(html: str) -> str:
    """Return the page with its policy as the first thing in the head, replacing an earlier one."""
    html = META.sub("", html)
    tag = f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(html))}">'
    return HEAD.sub(lambda head: f"{head.group()}\n{tag}", html, count=1)


def protect(site: Path) -> int:
    """Write a policy into every page of a built site; return how many pages there were."""
    pages = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    for path in pages:
        path.write_text(with_policy(path.read_text(encoding="utf-8")), encoding="utf-8")
    return len(pages)
