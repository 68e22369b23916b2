"""The saved widgets of a page: which views it shows, what they contain, and whether a browser can draw them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

State = dict[str, dict[str, Any]]
"""Widget models by id, as Jupyter saves them: `{"model_name": ..., "state": {...}}`."""

REFERENCE = "IPY_MODEL_"
BOXES = frozenset({"BoxModel", "HBoxModel", "VBoxModel", "GridBoxModel"})
NUMBERS = frozenset(
    {
        "IntSliderModel",
        "FloatSliderModel",
        "FloatLogSliderModel",
        "IntRangeSliderModel",
        "FloatRangeSliderModel",
        "IntTextModel",
        "FloatTextModel",
        "BoundedIntTextModel",
        "BoundedFloatTextModel",
        "IntProgressModel",
        "FloatProgressModel",
    }
)
SELECTIONS = frozenset(
    {
        "DropdownModel",
        "RadioButtonsModel",
        "SelectModel",
        "SelectMultipleModel",
        "SelectionSliderModel",
        "ToggleButtonsModel",
    }
)
BOOLEANS = frozenset({"CheckboxModel", "ToggleButtonModel"})
TEXTS = frozenset({"TextModel", "TextareaModel"})
SHOWN_TEXTS = frozenset({"LabelModel", "HTMLModel", "HTMLMathModel"})
SUPPORTED = BOXES | NUMBERS | SELECTIONS | BOOLEANS | TEXTS | SHOWN_TEXTS | {"ButtonModel", "OutputModel"}


def reachable(state: State, model_id: str) -> Iterator[str]:
    """Yield the model and all that it contains, depth first in the order shown."""
    yield model_id
    for child in children(state, model_id):
        yield from reachable(state, child)


def children(state: State, model_id: str) -> list[str]:
    """Return the models inside a box."""
    references = state[model_id]["state"].get("children", [])
    return [reference.removeprefix(REFERENCE) for reference in references]


def unsupported(state: State, model_id: str) -> list[str]:
    """Return the kinds of widget in a view that no live control exists for."""
    kinds = {kind(state, each) for each in reachable(state, model_id)}
    return sorted(name.removesuffix("Model") for name in kinds - SUPPORTED)


def kind(state: State, model_id: str) -> str:
    """Return the model's name, such as `IntSliderModel`."""
    return str(state[model_id]["model_name"])


def outputs(state: State, model_id: str) -> list[dict[str, Any]]:
    """Return what an Output widget held when the notebook was saved."""
    return list(state[model_id]["state"].get("outputs", []))


def has_figure(state: State, model_id: str) -> bool:
    """Return whether a view shows a picture, and so needs an alternative text."""
    return any(
        mime.startswith("image/")
        for each in reachable(state, model_id)
        for output in outputs(state, each)
        for mime in output.get("data", {})
    )


def errors(state: State, model_id: str) -> list[str]:
    """Return the errors that a view's callbacks raised while the notebook was executed."""
    return [
        f"{output['ename']}: {output['evalue']}"
        for each in reachable(state, model_id)
        for output in outputs(state, each)
        if output.get("output_type") == "error"
    ]


def script_links(state: State) -> Iterator[tuple[str, str, str]]:
    """Yield the links that the notebook's own JavaScript follows: what made it, and the models at its ends."""
    makers = {"LinkModel": "jslink", "DirectionalLinkModel": "jsdlink"}
    for each in state:
        if kind(state, each) in makers:
            ends = [state[each]["state"][end][0].removeprefix(REFERENCE) for end in ("source", "target")]
            yield makers[kind(state, each)], ends[0], ends[1]


def label(state: State, model_id: str) -> str:
    """Return how to call a widget in a message: its kind and description."""
    if model_id not in state:
        return "a widget"
    description = state[model_id]["state"].get("description")
    return kind(state, model_id).removesuffix("Model") + (f" {description!r}" if description else "")


PAGE_KEYS = frozenset(
    """
    children value index min max step base description tooltip description_allow_html placeholder
    disabled readout readout_format continuous_update _options_labels options rows button_style
    bar_style icon
    """.split()  # noqa: SIM905
)


def page_state(state: State, roots: list[str]) -> dict[str, dict[str, Any]]:
    """Return what the page's controls need of the saved models: no layouts, no styles, no pictures."""
    ids = dict.fromkeys(each for root in roots for each in reachable(state, root))
    return {
        each: {
            "kind": kind(state, each).removesuffix("Model"),
            "state": {k: v for k, v in state[each]["state"].items() if k in PAGE_KEYS},
        }
        for each in ids
    }
