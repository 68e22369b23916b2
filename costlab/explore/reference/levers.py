"""What all levers together rest on beside models, chips and prices."""

from __future__ import annotations

from costlab import catalog
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text


def lever_figures() -> Sourced:
    """Return the figures of a service that no other table holds: hours of use, promises, storage."""
    rows = (
        (
            {
                "figure": each.input,
                "of a service": "before the lever" if each.off else "with all levers",
                "what it is": each.says,
                "value": number_text(each.value),
                "range": " to ".join(number_text(end) for end in (each.low, each.high) if end is not None) or None,
                "unit": each.unit,
                "how sure": each.confidence,
            },
            each,
        )
        for each in catalog.tables().lever_figures.values()
    )
    return sourced("lever-figures", rows, "Figures of a service: value, least and most", bold="value")


def traffic_kinds() -> Sourced:
    """Return the mean requests that services are priced for."""
    rows = (
        (
            {
                "kind of use": name,
                "who asks for what": each.says,
                "input tokens": each.input,
                "sent before": f"{each.hit_rate:.1%}",
                "output tokens": each.output,
            },
            each,
        )
        for name, each in catalog.tables().traffic.items()
    )
    return sourced("uses", rows, "Mean requests of kinds of use", bold="kind of use")
