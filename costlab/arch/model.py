"""A model as a list of layers, and the three counts that its price rests on: parameters, cache bytes, FLOPs.

>>> from costlab import arch
>>> pro = arch.load("deepseek-v4-pro")
>>> round(float(pro.kv_bytes(1_048_576).total) / 1e9, 2)
5.28

Chapter: attention
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from costlab import catalog, checks
from costlab.arch.attention import KINDS, Attention, Layout, Phase
from costlab.arch.counts import FP8_EQUIVALENTS, Flops, KVBytes, Params
from costlab.arch.experts import FFN_KINDS, FeedForward
from costlab.arrays import ArrayLike, Floats
from costlab.catalog import DTYPE_BYTES, FrozenDict, ModelRecord, Place
from costlab.checks import tokens_array

#: Components that multiply nothing: a look-up table, and vectors.
_NOT_MULTIPLIED = frozenset({"embedding", "norm"})


@dataclass(frozen=True)
class Model:
    """A model: its layers in order, as (attention, feed-forward) pairs, and its record in the catalog."""

    key: str  # in the catalog
    record: ModelRecord  # its dimensions
    layers: tuple[tuple[Attention, FeedForward], ...]  # (attention, feed-forward) pairs in order
    # the pair of a multi-token-prediction module; None where it has none
    mtp_layer: tuple[Attention, FeedForward] | None = None
    projection: int = 0  # parameters of matrices before the layers, which join what a draft module reads

    @property
    def name(self) -> str:
        """The model's name as its maker writes it."""
        return self.record.name

    @functools.cached_property
    def params(self) -> Params:
        """Parameters by component."""
        rec = self.record
        table = rec.vocab * rec.hidden
        ends = {"embedding": table, "norm": rec.hidden}
        # a tied head is the embedding table used again: no further parameters, but it multiplies
        both = {"residual": self._final_residual(), "projection": self.projection}
        every = Counter({**ends, "head": 0 if rec.tied else table, **both})
        active = Counter({"head": table, **both})
        for layer, count in Counter(self.layers).items():
            for counter, counts in zip((every, active), self._layer_params(layer), strict=True):
                counter.update({name: n * count for name, n in counts.items()})
        idle = {name: n for name, n in active.items() if name not in _NOT_MULTIPLIED and n}
        # the model is cached for the whole process: nobody may change its counts
        return Params(FrozenDict({k: n for k, n in every.items() if n}), FrozenDict(idle), self._mtp_params())

    @functools.cached_property
    def mtp_module(self) -> Model | None:
        """One multi-token-prediction module as a model of one layer; embedding and head are this model's own."""
        mtp = self.record.mtp
        if self.mtp_layer is None or mtp is None:
            return None
        projection = mtp.projections * mtp.projection_inputs * self.record.hidden**2
        layers = (self.mtp_layer,)
        return dataclasses.replace(self, key=f"{self.key} mtp", layers=layers, mtp_layer=None, projection=projection)

    def kv_bytes(self, tokens: ArrayLike, tensor_parallel: int = 1) -> KVBytes:
        """Return the bytes that one sequence of `tokens` tokens keeps, on each chip of a tensor-parallel group.

        Args:
            tokens: context lengths, any shape.
            tensor_parallel: chips in the group; KV heads split among them, latents and shared vectors do not.

        Raises:
            ValueError: a length below 1 or not whole.

        Source: layouts in catalog/models.toml.
        """
        context = tokens_array(tokens)
        parts = {part: np.zeros_like(context) for part in ("main", "index", "window", "state")}
        for attention, count in self.attention_counts.items():
            for store in attention.stores():
                held = count * attention.cache_share(tensor_parallel)
                parts[store.part] += held * store.bytes_per_entry * store.entries.at(context)
        return KVBytes(**parts)

    def decode_flops(self, context: ArrayLike, rows: int = 1, logits: int | None = None) -> Flops:
        """Return the FLOPs of producing one token, whose context including itself is `context` tokens.

        Args:
            context: context lengths, any shape.
            rows: tokens that one pass reads, the first at `context` and each with those before it; attention in the
                form of decode.
            logits: rows that the output head multiplies; None for all.

        Raises:
            ValueError: a length below 1 or not whole.
        """
        tokens = tokens_array(context)
        each = {**dict.fromkeys(self.params.active_by_component, rows), "head": rows if logits is None else logits}
        active = self.params.active_by_component.items()
        flops = {name: np.full_like(tokens, 2.0 * n * each[name]) for name, n in active}
        return self._with_attention(flops, "decode", tokens - 1, np.full_like(tokens, rows))

    def prefill_flops(self, new: ArrayLike, prefix: ArrayLike = 0) -> Flops:
        """Return the FLOPs of reading `new` tokens causally after `prefix` tokens that are cached already.

        The output head runs once, for the last token. MLA expands the cached prefix again.

        Args:
            new: tokens to read, at least 1; broadcasts with prefix.
            prefix: cached tokens before them, at least 0.

        Raises:
            ValueError: a count out of range or not whole.
        """
        fresh, cached = np.broadcast_arrays(tokens_array(new, "new"), tokens_array(prefix, "prefix", 0))
        active = self.params.active_by_component
        flops = {name: 2.0 * n * (fresh if name != "head" else np.ones_like(fresh)) for name, n in active.items()}
        again = sum(n * a.reexpansion_flops() for a, n in self.attention_counts.items())
        if again:
            flops["latent_up"] = flops["latent_up"] + again * cached
        return self._with_attention(flops, "prefill", cached, fresh)

    def decode_read_bytes(self, context: ArrayLike, tensor_parallel: int = 1, rows: int = 1) -> Floats:
        """Return the cache bytes that one decode step of one sequence reads: every index key, the chosen entries.

        Args:
            context: context lengths including the new token, any shape.
            tensor_parallel: chips in the group; the bytes are those that each of them reads.
            rows: tokens of the sequence that the pass reads, the first at `context`. What all rows see is read once;
                what each chooses for itself is read for each, as published kernels of sparse attention do.

        Raises:
            ValueError: a length below 1 or not whole.
        """
        tokens = tokens_array(context)
        held = {a: count * a.cache_share(tensor_parallel) for a, count in self.attention_counts.items()}
        reads = ((share, r) for a, share in held.items() for r in a.reads("decode"))
        return np.asarray(sum(n * r.bytes_per_entry * r.read_once(tokens, rows) for n, r in reads), dtype=np.float64)

    def weight_bytes(self, active: bool = False) -> Mapping[str, float]:
        """Return the stored bytes of the parameters by component; with `active`, of those one token multiplies."""
        counts = self.params.active_by_component if active else self.params.by_component
        return {name: n * DTYPE_BYTES[_precision(self.record.weights, name)] for name, n in counts.items()}

    def shares_on_chip(self, tensor_parallel: int) -> Mapping[str, float]:
        """Return the share of each component's weights and FLOPs that falls to each chip of a tensor-parallel group.

        Heads, feed-forward parts and vocabulary split; what belongs to no head, the router and the mixing of residual
        streams are done whole on each chip. The routed experts are left out: they lie where experts lie.

        Args:
            tensor_parallel: chips in the group.

        Raises:
            ValueError: a number that does not divide the query heads.

        Source: the plain linear layers of DeepSeek's published inference code.
        """
        for attention in self.attention_counts:
            if tensor_parallel < 1 or attention.heads % tensor_parallel:
                raise ValueError(f"tensor_parallel = {tensor_parallel} should divide the {attention.heads} query heads")
        whole: Counter[str] = Counter()
        mine: dict[str, float] = {}
        for attention, count in self.attention_counts.items():
            whole.update({name: n * count for name, n in attention.params(self.record.hidden).items()})
            for name, n in attention.params_on_chip(self.record.hidden, tensor_parallel).items():
                mine[name] = mine.get(name, 0.0) + n * count
        return {
            **{name: mine[name] / n for name, n in whole.items() if n},
            **dict.fromkeys(("embedding", "head", "dense", "shared", "core"), 1 / tensor_parallel),
            **dict.fromkeys(("router", "residual", "projection", "norm", "indexer"), 1.0),
        }

    def math_precision(self, component: str) -> str:
        """Return the precision in which a component's multiplications run."""
        return _precision(self.record.math, component)

    def with_layouts(self, entry: Layout | None = None, index_key: Layout | None = None) -> Model:
        """Return the same model with other cached layouts, for every attention kind that has the part.

        Args:
            entry: (count, dtype) pairs of one cached entry, or None to keep it.
            index_key: the same for index keys; () counts no index keys at all.
        """
        return dataclasses.replace(self, layers=tuple((_relaid(a, entry, index_key), f) for a, f in self.layers))

    @functools.cached_property
    def attention_counts(self) -> Counter[Attention]:
        """How many layers have each attention."""
        return Counter(attention for attention, _ in self.layers)

    def _layer_params(self, layer: tuple[Attention, FeedForward]) -> tuple[Counter[str], Counter[str]]:
        attention, ffn = layer
        hidden = self.record.hidden
        shared = Counter(attention.params(hidden))
        shared.update({"norm": 2 * hidden, "residual": 2 * self._residual_mixer()})
        return shared + Counter(ffn.params(hidden)), shared + Counter(ffn.active(hidden))

    def _residual_mixer(self) -> int:
        """Hyper-connections: n streams in, n read + n write + n*n mixing weights out (arXiv 2606.19348 sec. 2.2)."""
        n = self.record.residual_streams
        return 0 if n == 1 else n * self.record.hidden * (2 * n + n * n)

    def _final_residual(self) -> int:
        n = self.record.residual_streams
        return 0 if n == 1 else n * self.record.hidden * n

    def _mtp_params(self) -> int:
        """Parameters of all modules, without the embedding and head that they share with the model."""
        if self.mtp_module is None or self.record.mtp is None:
            return 0
        counts = self.mtp_module.params
        shared = sum(counts.by_component.get(name, 0) for name in ("embedding", "head"))
        return self.record.mtp.modules * (counts.total - shared)

    def _with_attention(self, flops: dict[str, Floats], phase: Phase, prefix: Floats, new: Floats) -> Flops:
        flops |= {"indexer": np.zeros_like(new), "core": np.zeros_like(new)}
        for attention, count in self.attention_counts.items():
            for read in attention.reads(phase):
                per_layer = read.flops_per_entry * read.entries.summed(prefix, new)
                flops[read.component] = flops[read.component] + count * per_layer
        return Flops(flops, {name: self.math_precision(name) for name in flops})


def _precision(table: Mapping[str, str], component: str) -> str:
    return table.get(component, table["default"])


def load(model: str | Model) -> Model:
    """Return a model of the catalog, e.g. `load("deepseek-v4-pro")`; a model is returned as it is.

    Raises:
        ValueError: an unknown key; the message lists the known ones.
    """
    return model if isinstance(model, Model) else _load(model.lower())


@functools.cache
def _load(key: str) -> Model:
    return build(key, catalog.model(key), catalog.place_of(key))


def build(key: str, record: ModelRecord, place: Place) -> Model:
    """Build a model from its record.

    Args:
        key: its name in the catalog.
        record: its dimensions.
        place: where the record stands, for messages.

    Raises:
        CatalogError: an attention or feed-forward table that its kind cannot read.
    """
    attention: dict[str, Attention] = {
        name: _decoded(KINDS, table, place, "attention", name) for name, table in record.attention.items()
    }
    ffn: dict[str, FeedForward] = {
        name: _decoded(FFN_KINDS, table, place, "ffn", name) for name, table in record.ffn.items()
    }
    layers = tuple((attention[a], ffn[f]) for run in record.layers for _ in range(run.repeat) for a, f in run.pairs)
    mtp = record.mtp and (attention[record.mtp.attention], ffn[record.mtp.ffn])
    model = Model(key, record, layers, mtp or None)
    _check_precisions(model, place)
    return model


def _check_precisions(model: Model, place: Place) -> None:
    """A misspelt component or precision would silently fall back to the default."""
    parts = {*model.params.by_component, *({"projection"} if model.mtp_layer else ()), "default"}
    tables = (
        ("weights", model.record.weights, parts, DTYPE_BYTES),
        ("math", model.record.math, parts | {"core", "indexer"}, FP8_EQUIVALENTS),
    )
    for name, table, components, precisions in tables:
        for component, precision in table.items():
            where = f"{place}: {name}.{component} = {precision!r}"
            if component not in components:
                raise catalog.CatalogError(f"{where}: {checks.unknown('component', component, components)}")
            if precision not in precisions:
                raise catalog.CatalogError(f"{where} should be one of {', '.join(precisions)}")


def models() -> Mapping[str, Model]:
    """Return every model of the catalog by key."""
    return {key: load(key) for key in catalog.tables().models}


def _decoded(kinds: Mapping[str, Any], table: Mapping[str, Any], place: Place, part: str, name: str) -> Any:
    where = dataclasses.replace(place, path=(*place.path, part, name))
    fields = dict(table)
    kind = fields.pop("kind", None)
    if kind not in kinds:
        raise catalog.CatalogError(f"{where}: kind = {kind!r} should be one of {', '.join(kinds)}")
    return catalog.decode(kinds[kind], fields, where)


def _relaid(attention: Attention, entry: Layout | None, index_key: Layout | None) -> Attention:
    changes: dict[str, Any] = {} if entry is None else {"entry": entry}
    if index_key is not None and hasattr(attention, "index_key"):
        changes["index_key"] = index_key
    return dataclasses.replace(attention, **changes)
