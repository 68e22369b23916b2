"""A model as a family's reader draws it: layer after layer, as tables of the form that the catalog has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.catalog import LayerRun, LookupTable, Mtp

KindTable = Mapping[str, Any]

#: Storage of a cached element: no config.json says it.
CACHED = "bf16"

#: Experts of a layer, layers of window or state: above what any answer needs, below what takes long.
MAX_EXPERTS = 65_536


@dataclass
class Blueprint:
    """What a family makes of a config.json."""

    hidden: int  # width of the residual stream
    vocab: int  # tokens in the vocabulary
    tied: bool  # whether the head is the embedding table
    depth: int  # layers
    norms: int = 1  # norms of the model's width around each part of a layer
    streams: int = 1  # residual streams
    streams_mixed: bool = True  # whether each layer mixes them with one another
    streams_joined: bool = True  # whether learned weights join them behind the last layer
    attention: dict[str, KindTable] = field(default_factory=dict)  # tables by name
    ffn: dict[str, KindTable] = field(default_factory=dict)  # tables by name
    layers: list[tuple[str, str]] = field(default_factory=list)  # names of each layer's tables, in order
    mtp: Mtp | None = None  # multi-token-prediction modules that the file describes
    lookup: dict[str, LookupTable] = field(default_factory=dict)  # tables that multiply nothing

    def add(self, attention: KindTable, ffn: KindTable) -> None:
        """Add a layer; equal tables share a name."""
        self.layers.append((_named(self.attention, attention), _named(self.ffn, ffn)))

    def add_mtp(
        self, modules: int, attention: KindTable, ffn: KindTable, projections: int = 1, inputs: int = 2
    ) -> None:
        """Describe multi-token-prediction modules, if there are any; they stand in no layer."""
        if modules:
            names = _named(self.attention, attention), _named(self.ffn, ffn)
            self.mtp = Mtp(projections, inputs, *names, modules)

    def runs(self) -> tuple[LayerRun, ...]:
        """Return the layers as runs, each the longest repetition that begins where the last one ends."""
        found, at = [], 0
        while at < len(self.layers):
            period, repeat = max(
                ((p, _repeats(self.layers, at, p)) for p in range(1, 17)), key=lambda run: (_saved(*run), -run[0])
            )
            found.append(LayerRun(repeat, tuple(self.layers[at : at + period])))
            at += period * repeat
        return tuple(found)


def start(f: Fields, tied: bool = False, norms: int = 1, streams: int = 1) -> Blueprint:
    """Return a model without layers: what all families say in the same words.

    Args:
        f: fields of the text model.
        tied: whether the family's head is the embedding table where the file doesn't say.
        norms: of the model's width around each part of a layer.
        streams: residual streams.
    """
    return Blueprint(
        f.size("hidden_size", "dim", "n_embd"), f.size("vocab_size"), f.flag("tie_word_embeddings", default=tied),
        f.size("num_hidden_layers", "n_layer", most=MAX_LAYERS), norms, streams,
    )  # fmt: skip


def _named(tables: dict[str, KindTable], table: KindTable) -> str:
    for name, known in tables.items():
        if known == table:
            return name
    kind = str(table["kind"])
    number = sum(str(known["kind"]) == kind for known in tables.values())
    name = f"{kind}-{number + 1}" if number else kind
    tables[name] = table
    return name


def _repeats(layers: Sequence[Any], at: int, period: int) -> int:
    first, repeat = layers[at : at + period], 1
    while len(first) == period and layers[at + repeat * period : at + (repeat + 1) * period] == first:
        repeat += 1
    return repeat if len(first) == period else 0


def _saved(period: int, repeat: int) -> int:
    """Layers that a run leaves unwritten."""
    return period * (repeat - 1) if repeat else -1
