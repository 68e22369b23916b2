"""HTML from a cell's output, made safe for the static view by nh3; the page does the same with DOMPurify.

What may stay is one list for both, `web/allowed.json`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import nh3

ALLOWED = json.loads(Path(__file__).with_name("web").joinpath("allowed.json").read_text(encoding="utf-8"))
IMAGE = re.compile(rf"data:image/({'|'.join(map(re.escape, ALLOWED['image_types']))})[;,]", re.IGNORECASE)
DATA_LINK = re.compile(r"[\x00-\x20]*".join("data:"), re.IGNORECASE)
# DOMPurify's own rule: a value that could end what some other parser would take it to be in.
BREAKOUT = re.compile(r"(--!?|\])>|</(style|script|title|xmp|textarea|noscript|iframe|noembed|noframes)", re.IGNORECASE)
# nh3 parses as a browser that runs scripts, for which <noscript> holds text; the page's parser sees elements in it.
NOSCRIPT = re.compile(r"(?<=<)noscript|(?<=</)noscript", re.IGNORECASE)
LOADING = re.compile(r"url\s*\(|\\", re.IGNORECASE)  # in an attribute such as SVG's fill: it would fetch something
UNSCRIPTED = "noscript-x"


def sanitize(html: str) -> str:
    """Return the harmless part of `html`."""
    return CLEANER.clean(NOSCRIPT.sub(UNSCRIPTED, html))


def _attribute(element: str, name: str, value: str) -> str | None:
    """Return an allowed attribute's value, or None to leave it out."""
    if name == "style":
        value = ";".join(_declaration(*part.partition(":")) for part in value.split(";"))
    form = ALLOWED["attribute_values"].get(name)
    refused = (
        (form and not re.search(form, value))
        or (not form and LOADING.search(value) and name in ALLOWED["attributes"]["*"])
        or (name == "src" and not IMAGE.match(value.strip()))
        or (name == "href" and DATA_LINK.search(value))
        or BREAKOUT.search(value)
    )
    return None if refused else value


def _declaration(name: str, colon: str, value: str) -> str:
    """Return a declaration for nh3, which knows properties in lower case only; an unsafe one is empty."""
    unsafe = any(part in f"{name}{value}".lower() for part in ALLOWED["unsafe_in_style"])
    return "" if unsafe else f"{name.lower()}{colon}{value}"


CLEANER = nh3.Cleaner(
    tags=set(ALLOWED["elements"]),
    clean_content_tags={*ALLOWED["dropped"], UNSCRIPTED},
    attributes={element: set(names) for element, names in ALLOWED["attributes"].items()},
    generic_attribute_prefixes={ALLOWED["attribute_prefix"]},
    attribute_filter=_attribute,
    url_schemes={*ALLOWED["link_schemes"], "data"},  # of data, _attribute leaves pictures
    filter_style_properties=set(ALLOWED["style_properties"]),
    link_rel=None,
)
