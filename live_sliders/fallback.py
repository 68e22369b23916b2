"""The static view of a widget: what readers see without scripts, from a file, or before the first touch."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from . import widgets
from .sanitize import sanitize
from .widgets import State


def static_view(state: State, model_id: str, alt: str) -> str:
    """Return the HTML of a whole view: the values that the controls stood at, then what was computed from them."""
    parts = [_static(state, each, alt) for each in widgets.reachable(state, model_id)]
    settings = "".join(f"<li>{part}</li>" for kind, part in parts if kind == "setting")
    shown = "".join(part for kind, part in parts if kind == "shown")
    return (f'<ul class="live-settings">{settings}</ul>' if settings else "") + shown


def _static(state: State, model_id: str, alt: str) -> tuple[str, str]:
    """Return one model as ("setting" | "shown" | "", HTML)."""
    kind, values = widgets.kind(state, model_id), state[model_id]["state"]
    if kind == "OutputModel":
        return "shown", _output_area(widgets.outputs(state, model_id), model_id, alt)
    if kind in widgets.SHOWN_TEXTS:
        return "shown", f'<div class="live-text">{_text_value(kind, values)}</div>'
    if kind in widgets.BOXES or kind == "ButtonModel" or not values.get("description"):
        return "", ""
    return "setting", f"{escape(values['description'])}: <b>{escape(setting(values))}</b>"


def setting(values: dict[str, Any]) -> str:
    """Return a control's value as words: the chosen option's label, yes or no, or the number."""
    labels, index = values.get("_options_labels"), values.get("index")
    if labels and isinstance(index, int):
        return str(labels[index])
    if labels and isinstance(index, list):
        return ", ".join(str(labels[each]) for each in index)
    value = values.get("value", "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _text_value(kind: str, values: dict[str, Any]) -> str:
    value = str(values.get("value", ""))
    return escape(value) if kind == "LabelModel" else sanitize(value)


def _output_area(outputs: list[dict[str, Any]], model_id: str, alt: str) -> str:
    """Return an Output widget's area; the page's script takes these nodes over as the first content."""
    inner = "".join(render_output(output, alt) for output in outputs)
    return f'<div class="live-output" data-live-output="{escape(model_id)}">{inner}</div>'


def render_output(output: dict[str, Any], alt: str) -> str:
    """Return one saved output as HTML, in the richest form that a browser shows without scripts."""
    if output.get("output_type") == "stream":
        return f"<pre>{escape(_join(output['text']))}</pre>"
    if output.get("output_type") == "error":
        return f"<pre>{escape(output['ename'])}: {escape(output['evalue'])}</pre>"
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for mime in ("image/png", "image/svg+xml", "image/jpeg"):
        if mime in data:
            return _image(mime, _join(data[mime]), metadata.get(mime, {}), alt)
    if "text/html" in data:
        return f'<div class="live-html">{sanitize(_join(data["text/html"]))}</div>'
    return f"<pre>{escape(_join(data.get('text/plain', '')))}</pre>"


def _image(mime: str, content: str, size: dict[str, Any], alt: str) -> str:
    """Return a picture that lies in the page itself, so that a page saved or opened as a file keeps it."""
    if mime == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    attributes = "".join(f' {key}="{int(size[key])}"' for key in ("width", "height") if key in size)
    content = "".join(content.split())
    return f'<img src="data:{mime};base64,{content}" alt="{escape(alt)}"{attributes}>'


def _join(text: str | list[str]) -> str:
    """Return a text that the notebook may have stored as a list of lines."""
    return text if isinstance(text, str) else "".join(text)
