"""Small models for capture: a catalog's model with few layers and narrow matrices, all that is special about it kept.

One layer of each kind stays. Widths are divided by fixed numbers, so that their ratios stay, and `SmallModel.reduced`
says what was changed. A small model's graph has the operators of the large one, and each of its layers stands for those
of its kind, so that the whole model's operators are counted, not guessed. At "real" scale only layers are left out:
shapes and bytes are the large model's, and weights take no memory, so that nothing can be computed.

>>> small = small_model("mimo-v2-flash")
>>> small.layers, small.stands_for, small.reduced["heads of full"]
((0, 1, 5), (1, 39, 8), (64, 16))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from costlab import arch, checks
from costlab.arch.experts import FeedForward
from costlab.catalog import FrozenDict, ModelRecord
from costlab.chips.porting.graph import GraphNode
from costlab.nn.attention import LAYERS
from costlab.nn.chips.architectures import build_model, published_config, text_part
from costlab.nn.chips.cutting import SMALL_VOCABULARY, common_divisor, cut_config, kept_layers, layer_number
from costlab.nn.chips.experts import TRANSFORMERS_FORMS, ExpertForm, default_form, use_experts
from costlab.nn.decoder import Decoder

#: Whose modules a small model is made of.
Maker = Literal["costlab", "transformers"]
#: Whether widths are reduced too ("small"), or layers alone ("real").
Size = Literal["small", "real"]

#: What each width of an attention kind is divided by.
_WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("rope_dim", "qk_dim", "v_dim", "nope_dim", "head_dim", "index_dim", "index_heads"), 8),
    **dict.fromkeys(("q_rank", "kv_rank", "group_dim", "window"), 16),
}
#: Numbers of heads that one divisor divides, and the least that each may become.
_HEADS = {"heads": 4, "kv_heads": 1, "groups": 2}
_DIVISOR = 64  # of the model's width, and of those inside feed-forward layers
_SPARSE = 256  # divisor of the entries that sparse attention reads
_EXPERTS, _FEW_EXPERTS, _TOP_K = 16, 8, 2  # divisor of the experts, and what stays of them at least; visited at most
_BLOCK = 16  # divisor of blocks of so many tokens and more
_SINKHORN_STEPS = 2
#: Most products of a query and a key, over all sequences, that a small model's example computes in each head.
MOST_PAIRS = 2**24
MOST_EXAMPLE_TOKENS = 2**17  # of an example
_THETA = 10000.0  # where a record has no rotary base


@dataclass(frozen=True)
class SmallModel:
    """A model to capture, and what it leaves out of the one that it stands for."""

    name: str  # of the model, size and maker
    module: nn.Module  # in evaluation mode; token numbers in, logits out
    inputs: tuple[Tensor, ...]  # examples: token numbers, (batch, tokens)
    layers: tuple[int, ...]  # numbers of the layers that stay
    stands_for: tuple[int, ...]  # for each of them, how many layers of the whole model are of its kind
    reduced: Mapping[str, tuple[Any, Any]]  # what was changed: before and after
    remarks: tuple[str, ...] = ()  # what else differs, a sentence each

    def times(self, node: GraphNode) -> int:
        """Return how often the whole model has a node of this model's graph: once for each layer of its kind.

        Args:
            node: of a graph captured from `module`.
        """
        at = layer_number(node.module)
        return 1 if at is None else self.stands_for[at]


def small_model(
    model: str | Mapping[str, Any],
    of: Maker = "costlab",
    size: Size = "small",
    experts: ExpertForm | None = None,
    batch: int = 2,
    tokens: int = 32,
    seed: int = 0,
) -> SmallModel:
    """Return a model of few layers to capture, with random weights.

    Args:
        model: a key of the catalog; for transformers also the content of a config.json, see `read_config`.
        of: whose modules.
        size: "small" in FP32; "real" in BF16, in shapes alone.
        experts: how experts multiply; None: "gathered" in small models, "grouped" in those of real widths.
        batch: sequences of the example.
        tokens: in each of them.
        seed: of weights and example.

    Raises:
        ValueError: an unknown model, maker, size or form, an architecture that cannot be built.
        ModuleNotFoundError: no transformers where its modules are wanted.
    """
    size = checks.one_of(get_args(Size), size, "size")
    make = checks.pick({"costlab": _of_costlab, "transformers": _of_transformers}, of, "maker")
    _check_example(checks.count(batch, "batch"), checks.count(tokens, "tokens"), size)
    dtype = torch.float32 if size == "small" else torch.bfloat16
    form = checks.one_of(TRANSFORMERS_FORMS, experts or default_form(dtype), "form of the experts")
    dtype = torch.bfloat16 if form == "grouped" else dtype
    with _made(size, dtype, seed):
        made: SmallModel = make(model, size, form, dtype)
        if size == "small":
            randomise_weights(made.module, seed)
        example = torch.randint(SMALL_VOCABULARY, (batch, tokens))
    made.module.requires_grad_(False)
    return dataclasses.replace(made, inputs=(example,))


def _check_example(batch: int, tokens: int, size: Size) -> None:
    """Refuse an example of more tokens than is needed, or whose attention, computed, would fill a laptop's memory."""
    if batch * tokens > MOST_EXAMPLE_TOKENS:
        raise ValueError(f"an example of {batch:,} x {tokens:,} tokens should have {MOST_EXAMPLE_TOKENS:,} at most")
    if size == "small" and batch * tokens**2 > MOST_PAIRS:
        raise ValueError(
            f"{batch:,} x {tokens:,} tokens are too many to compute with weights: batch * tokens^2 should be at most "
            f"{MOST_PAIRS:,}; at size real nothing is computed"
        )


@contextmanager
def _made(size: Size, dtype: torch.dtype, seed: int) -> Iterator[None]:
    """Weights of one type, drawn from one seed, without memory at real size; torch's own state is left as it was."""
    before = torch.get_default_dtype()
    memory: AbstractContextManager[Any] = nullcontext() if size == "small" else FakeTensorMode()
    try:
        torch.set_default_dtype(dtype)
        with torch.random.fork_rng(devices=[]), memory:
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def randomise_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight random values, in place, and return the module: vectors near where they began, biases too.

    Args:
        module: of any kind.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in [*module.named_parameters(), *module.named_buffers()]:
        if not weight.is_floating_point() or (isinstance(weight, nn.Parameter) is False and "bias" not in name):
            continue
        noise = torch.randn(weight.shape, generator=generator).to(weight.dtype)
        weight.copy_(noise / weight.shape[-1] ** 0.5 if weight.dim() > 1 else weight + 0.1 * noise)
    return module


def _of_transformers(model: str | Mapping[str, Any], size: Size, form: ExpertForm, dtype: torch.dtype) -> SmallModel:
    config = published_config(arch.load(model)) if isinstance(model, str) else text_part(model)
    found = cut_config(config, narrow=size == "small")
    module = build_model(found.config, TRANSFORMERS_FORMS[form], dtype)
    key = model if isinstance(model, str) else str(config.get("model_type"))
    remarks = tuple(_remark_of_sinkhorn(found.reduced.get("hc_sinkhorn_iters")))
    name = f"{key}, {size}, of transformers"
    return SmallModel(name, module, (), found.layers, found.stands_for, FrozenDict(found.reduced), remarks)


def _of_costlab(model: str | Mapping[str, Any], size: Size, form: ExpertForm, dtype: torch.dtype) -> SmallModel:
    if not isinstance(model, str):
        raise ValueError(f"costlab builds models of the catalog: {model.get('model_type')!r} needs of='transformers'")
    whole = arch.load(model)
    _check_runs(whole)
    layers, stands_for = kept_layers(whole.layers)
    kept = tuple(whole.layers[i] for i in layers)
    narrow = tuple((small_attention(a), _small_feed_forward(f)) for a, f in kept) if size == "small" else kept
    plain = tuple((_plain_entries(a, dtype), f) for a, f in narrow)
    record = _with_rotary_bases(_small_record(whole.record) if size == "small" else whole.record, plain)
    module = use_experts(Decoder(arch.Model(f"{whole.key}-{size}", record, plain)), form).eval()
    reduced = dict(_changes(whole, record, kept, plain))
    steps = reduced.get("sinkhorn_steps")
    remarks = (*_remarks(whole, kept), *_remark_of_sinkhorn(steps))
    return SmallModel(f"{whole.key}, {size}, of costlab", module, (), layers, stands_for, FrozenDict(reduced), remarks)


def _check_runs(model: arch.Model) -> None:
    """Refuse by name what has no running layer, before its widths are divided."""
    for dims, ffn in dict.fromkeys(model.layers):
        if type(dims) not in LAYERS or not isinstance(dims, arch.KeyedAttention):
            raise ValueError(f"{model.name} has {dims.label} layers, which costlab does not run: try of='transformers'")
        if isinstance(ffn, arch.NoFeedForward):
            raise ValueError(f"{model.name} has layers without a feed-forward part, which costlab does not run")


def _remark_of_sinkhorn(steps: tuple[int, int] | None) -> Iterator[str]:
    if steps:
        yield f"The mixing of residual streams makes {steps[1]} Sinkhorn steps for {steps[0]}; each is a few operators."


def _remarks(whole: arch.Model, kept: tuple[tuple[arch.Attention, FeedForward], ...]) -> Iterator[str]:
    if silent := {a.kind for a, _ in kept} - whole.record.running.rope_theta.keys():
        yield f"Rotary base {_THETA:g} for {', '.join(sorted(silent))}: the record has none."
    if any(dtype in ("fp8", "fp4") for a, _ in kept for _, dtype in getattr(a, "entry", ())):
        yield "Cached entries have the model's own type: storing them in FP8 or FP4 is left out."


def small_attention(dims: arch.Attention) -> arch.Attention:
    """Return an attention kind with its widths divided, its heads in the ratio that they had.

    Args:
        dims: e.g. `arch.load("deepseek-v4-flash").layers[2][0]`.
    """
    said: dict[str, Any] = {k: max(1, getattr(dims, k) // by) for k, by in _WIDTHS.items() if getattr(dims, k, 0)}
    heads = {k: getattr(dims, k) for k in _HEADS if hasattr(dims, k)}
    by = common_divisor([(size, _HEADS[k]) for k, size in heads.items()])
    said |= {k: size // by for k, size in heads.items()}
    if isinstance(dims, arch.DSA | arch.CSA):
        said["top_k"] = max(1, dims.top_k // _SPARSE)
    if isinstance(dims, arch.HCA) and dims.block >= _BLOCK:
        said["block"] = dims.block // _BLOCK
    return dataclasses.replace(dims, **said)


def _plain_entries(dims: arch.Attention, dtype: torch.dtype) -> arch.Attention:
    """Return an attention kind that caches its entries in the model's own type."""
    word = "fp32" if dtype == torch.float32 else "bf16"
    if isinstance(dims, arch.FullAttention):
        parts: tuple[int, ...] = (dims.qk_dim, dims.v_dim)
    elif isinstance(dims, arch.MLA):
        parts = (dims.kv_rank, dims.rope_dim)
    else:
        parts = (getattr(dims, "head_dim", 0),)
    said: dict[str, Any] = {"entry": tuple((count, word) for count in parts)}
    if isinstance(dims, arch.DSA | arch.CSA):
        said["index_key"] = ((dims.index_dim, word),)
    return dataclasses.replace(dims, **said)


def _small_feed_forward(dims: FeedForward) -> FeedForward:
    if isinstance(dims, arch.NoFeedForward):
        return dims
    inner = 8 * math.ceil(dims.inner / _DIVISOR / 8)
    if isinstance(dims, arch.Dense):
        return dataclasses.replace(dims, inner=inner)
    experts = dims.experts if dims.experts <= _FEW_EXPERTS else max(_FEW_EXPERTS, dims.experts // _EXPERTS)
    return dataclasses.replace(dims, inner=inner, experts=experts, top_k=min(dims.top_k, _TOP_K))


def _small_record(record: ModelRecord) -> ModelRecord:
    running = dataclasses.replace(record.running, sinkhorn_steps=_SINKHORN_STEPS)
    hidden = 8 * math.ceil(record.hidden / _DIVISOR / 8)
    return dataclasses.replace(record, hidden=hidden, vocab=SMALL_VOCABULARY, running=running)


def _with_rotary_bases(record: ModelRecord, layers: tuple[tuple[arch.Attention, FeedForward], ...]) -> ModelRecord:
    bases = {**{a.kind: _THETA for a, _ in layers}, **record.running.rope_theta}
    return dataclasses.replace(record, running=dataclasses.replace(record.running, rope_theta=FrozenDict(bases)))


def _changes(
    whole: arch.Model,
    record: ModelRecord,
    kept: tuple[tuple[arch.Attention, FeedForward], ...],
    plain: tuple[tuple[arch.Attention, FeedForward], ...],
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield every number that differs, with its name: "heads of full", "experts"."""
    yield "layers", (len(whole.layers), len(plain))
    for name in ("hidden", "vocab"):
        yield from _differing(name, getattr(whole.record, name), getattr(record, name))
    if record.residual_streams > 1:
        steps = (whole.record.running.sinkhorn_steps, record.running.sinkhorn_steps)
        yield from _differing("sinkhorn_steps", *steps)
    for before, after in zip(kept, plain, strict=True):
        for old, new, kind in zip(before, after, (f" of {before[0].kind}", f" of {before[1].kind}"), strict=True):
            for field in dataclasses.fields(old):
                if isinstance(getattr(old, field.name), int):
                    yield from _differing(field.name + kind, getattr(old, field.name), getattr(new, field.name))


def _differing(name: str, before: int, after: int) -> Iterator[tuple[str, tuple[int, int]]]:
    if before != after:
        yield name, (before, after)
