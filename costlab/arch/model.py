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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from costlab import catalog, checks
from costlab.arch.attention import KINDS, Attention, Layout, NoAttention, Phase
from costlab.arch.counts import FP8_EQUIVALENTS, Flops, KVBytes, Params
from costlab.arch.entries import Part
from costlab.arch.experts import FFN_KINDS, FeedForward, NoFeedForward
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
        ends = {"embedding": table, "norm": rec.hidden + sum(t.norms for t in rec.lookup.values())}
        # a tied head is the embedding table used again: no further parameters, but it multiplies
        joined = sum(t.joined for t in rec.lookup.values())
        both = {"residual": self._final_residual(), "projection": self.projection, "lookup_proj": joined}
        every = Counter({**ends, "head": 0 if rec.tied else table, **both})
        active = Counter({"head": table, **both})
        prefill = Counter(both)
        if rec.prefill_layers is not None:  # the streams are joined behind the last layer, which few tokens reach
            del prefill["residual"]
        for i, layers in enumerate(self._layer_counts):
            for layer, count in layers.items():
                all_of, used = self._layer_params(layer)
                for counter, counts in ((every, all_of), (active, used), *(((prefill, used),) if i == 0 else ())):
                    counter.update({name: n * count for name, n in counts.items()})
        # the model is cached for the whole process: nobody may change its counts
        nonzero = FrozenDict({k: n for k, n in every.items() if n})
        lookup = sum(t.rows * t.width * t.copies for t in rec.lookup.values())
        return Params(nonzero, _multiplied(active), self._mtp_params(), lookup, _multiplied(prefill))

    @functools.cached_property
    def mtp_module(self) -> Model | None:
        """One multi-token-prediction module as a model of one layer; embedding and head are this model's own."""
        mtp = self.record.mtp
        if self.mtp_layer is None or mtp is None:
            return None
        projection = mtp.projections * mtp.projection_inputs * self.record.hidden**2
        record = dataclasses.replace(self.record, prefill_layers=None, lookup=FrozenDict())
        return Model(f"{self.key} mtp", record, (self.mtp_layer,), projection=projection)

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
        parts = {part: np.zeros_like(context) for part in get_args(Part)}
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
        return self._with_attention(flops, [(self.attention_counts, "decode", tokens - 1, np.full_like(tokens, rows))])

    def prefill_flops(self, new: ArrayLike, prefix: ArrayLike = 0) -> Flops:
        """Return the FLOPs of reading `new` tokens causally after `prefix` tokens that are cached already.

        The output head runs once, for the last token, and so do layers that prefill skips. MLA expands the cached
        prefix again.

        Args:
            new: tokens to read, at least 1; broadcasts with prefix.
            prefix: cached tokens before them, at least 0.

        Raises:
            ValueError: a count out of range or not whole.
        """
        fresh, cached = np.broadcast_arrays(tokens_array(new, "new"), tokens_array(prefix, "prefix", 0))
        each = self.params.prefill
        flops = {
            name: 2.0 * (each.get(name, 0) * (fresh - 1) + n) for name, n in self.params.active_by_component.items()
        }
        prompt, last = self._attention_of
        again = sum(n * a.reexpansion_flops() for a, n in prompt.items())
        if again:
            flops["latent_up"] = flops["latent_up"] + again * cached
        end = cached + fresh - 1
        return self._with_attention(
            flops, [(prompt, "prefill", cached, fresh), (last, "decode", end, np.ones_like(end))]
        )

    def decode_read_bytes(self, context: ArrayLike, tensor_parallel: int = 1, rows: int = 1) -> Floats:
        """Return the cache bytes that one decode step of one sequence reads: every index key, the chosen entries.

        A layer that uses another's entries reads them like its own. A recurrent state counts twice, as it is read and
        written back.

        Args:
            context: context lengths including the new token, any shape.
            tensor_parallel: chips in the group; the bytes are those that each of them reads.
            rows: tokens of the sequence that the pass reads, the first at `context`. What all rows see is read once;
                what each chooses for itself is read for each, as published kernels of sparse attention do; a
                recurrent state is read and written once.

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
            **dict.fromkeys(("embedding", "head", "dense", "shared", "latent_experts", "core"), 1 / tensor_parallel),
            **dict.fromkeys(("router", "residual", "projection", "lookup_proj", "norm", "indexer"), 1.0),
        }

    @property
    def lookup_bytes(self) -> float:
        """Stored bytes of look-up tables beside the embedding, which lie where there is room: few rows are read."""
        return self.params.lookup * DTYPE_BYTES[_precision(self.record.weights, "lookup")]

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

    def stored_as(self, dtype: str) -> Model:
        """Return the same model with all that its cache holds per token in one storage type, without scales.

        For comparing models of which the catalog states how each is stored. Recurrent states stay as they are.

        Raises:
            ValueError: an unknown storage type.
        """
        checks.pick(DTYPE_BYTES, dtype, "storage")
        return dataclasses.replace(self, layers=tuple((a.stored_as(dtype), f) for a, f in self.layers))

    @functools.cached_property
    def attention_counts(self) -> Counter[Attention]:
        """How many layers have each attention."""
        return Counter(attention for attention, _ in self.layers)

    @functools.cached_property
    def prompt_attention(self) -> Counter[Attention]:
        """How many of the layers that a prompt's tokens run have each attention."""
        return self._attention_of[0]

    @functools.cached_property
    def last_attention(self) -> Counter[Attention]:
        """The same of the layers that run for a prompt's last token only."""
        return self._attention_of[1]

    @functools.cached_property
    def _layer_counts(self) -> tuple[Counter[tuple[Attention, FeedForward]], ...]:
        """How many there are of each layer, among those that a prompt's tokens run and among the rest."""
        first = self.record.prefill_layers
        return (Counter(self.layers[:first]), Counter(self.layers[first:] if first is not None else ()))

    @functools.cached_property
    def _attention_of(self) -> tuple[Counter[Attention], Counter[Attention]]:
        found: tuple[Counter[Attention], Counter[Attention]] = (Counter(), Counter())
        for counts, layers in zip(found, self._layer_counts, strict=True):
            for (attention, _), count in layers.items():
                counts[attention] += count
        return found

    def _layer_params(self, layer: tuple[Attention, FeedForward]) -> tuple[Counter[str], Counter[str]]:
        attention, ffn = layer
        hidden = self.record.hidden
        parts = (not isinstance(attention, NoAttention)) + (not isinstance(ffn, NoFeedForward))
        shared = Counter(attention.params(hidden))
        norms = parts * self.record.norms * hidden
        shared.update({"norm": norms, "residual": parts * self._residual_mixer()})
        return shared + Counter(ffn.params(hidden)), shared + Counter(ffn.active(hidden))

    def _residual_mixer(self) -> int:
        """Hyper-connections: n streams in, n read + n write + n*n mixing weights out (arXiv 2606.19348 sec. 2.2)."""
        n = self.record.residual_streams
        return 0 if n == 1 else n * self.record.hidden * (2 * n + n * n * self.record.streams_mixed)

    def _final_residual(self) -> int:
        n = self.record.residual_streams
        return n * self.record.hidden * n if n > 1 and self.record.streams_joined else 0

    def _mtp_params(self) -> int:
        """Parameters of all modules, without the embedding and head that they share with the model."""
        if self.mtp_module is None or self.record.mtp is None:
            return 0
        counts = self.mtp_module.params
        shared = sum(counts.by_component.get(name, 0) for name in ("embedding", "head"))
        return self.record.mtp.modules * (counts.total - shared)

    def _with_attention(
        self, flops: dict[str, Floats], queries: Sequence[tuple[Counter[Attention], Phase, Floats, Floats]]
    ) -> Flops:
        """Add what attention of each kind computes for so many queries after a prefix."""
        flops |= {"indexer": np.zeros_like(queries[0][3]), "core": np.zeros_like(queries[0][3])}
        for counts, phase, prefix, new in queries:
            for attention, count in counts.items():
                for read in attention.reads(phase):
                    per_layer = read.flops_per_entry * read.entries.summed(prefix, new)
                    flops[read.component] = flops[read.component] + count * per_layer
        return Flops(flops, {name: self.math_precision(name) for name in flops})


def _multiplied(counts: Mapping[str, int]) -> FrozenDict[str, int]:
    return FrozenDict({name: n for name, n in counts.items() if name not in _NOT_MULTIPLIED and n})


def _precision(table: Mapping[str, str], component: str) -> str:
    return table.get(component, table["default"])


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
    _check_sources(model, place)
    return model


def _check_precisions(model: Model, place: Place) -> None:
    """A misspelt component or precision would silently fall back to the default."""
    beside = {"projection": model.mtp_layer, "lookup": model.params.lookup}
    parts = {*model.params.by_component, *(name for name, there in beside.items() if there), "default"}
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


def _check_sources(model: Model, place: Place) -> None:
    """A layer that uses what an earlier one made needs one that did, of its kind."""
    for i, (attention, _) in enumerate(model.layers):
        for flag in ("owns_kv", "owns_index"):
            before = (a for a, _ in model.layers[:i] if type(a) is type(attention))
            if not getattr(attention, flag, True) and not any(getattr(a, flag) for a in before):
                raise catalog.CatalogError(
                    f"{place}: layer {i} has {flag} = false, but no {attention.kind} layer before it has it true"
                )


def _decoded(kinds: Mapping[str, Any], table: Mapping[str, Any], place: Place, part: str, name: str) -> Any:
    where = dataclasses.replace(place, path=(*place.path, part, name))
    fields = dict(table)
    kind = fields.pop("kind", None)
    if kind not in kinds:
        raise catalog.CatalogError(f"{where}: kind = {kind!r} should be one of {', '.join(kinds)}")
    return catalog.decode(kinds[kind], fields, where)


def _relaid(attention: Attention, entry: Layout | None, index_key: Layout | None) -> Attention:
    changes: dict[str, Any] = {} if entry is None or not hasattr(attention, "entry") else {"entry": entry}
    if index_key is not None and hasattr(attention, "index_key"):
        changes["index_key"] = index_key
    return dataclasses.replace(attention, **changes)
