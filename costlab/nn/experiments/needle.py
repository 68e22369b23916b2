"""A needle in a haystack, small enough to train in minutes: what compression and top-k cost in recall.

A text is mostly hay. Some tokens are needles: a key, a part number and a value. At the end each key is asked for once,
and the model must answer with the values of all its parts, which lie apart. One attention layer and one MLP, the
attention kind being all that differs.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab import arch
from costlab.nn.attention.compressed import CSA, HCA, SharedWindow
from costlab.nn.attention.core import KeySet, RMSNorm, Span, weigh
from costlab.nn.attention.rope import Rope
from costlab.nn.experiments.training import WEIGHTS, Reader, load_weights

NEEDLE_WEIGHTS = WEIGHTS / "needle.npz"


@dataclass(frozen=True)
class NeedleTask:
    """How much hay, how many keys hidden in how many parts. A guess is right one time in `values`."""

    hay: int = 128  # tokens of a text before its questions, needles included
    needles: int = 4  # keys hidden in a text, each asked for once
    parts: int = 4  # tokens that one key's answer is spread over
    keys: int = 32  # different keys
    values: int = 16  # different values of a part
    kinds_of_hay: int = 16  # different tokens that say nothing

    @property
    def tokens(self) -> int:
        """Length of a text: hay with needles in it, then one question per needle."""
        return self.hay + self.needles

    @property
    def vocabulary(self) -> int:
        """Token numbers: hay, then needles by key, part and value, then questions by key."""
        return self.first_question + self.keys

    @property
    def first_question(self) -> int:
        """Token number of the question for key 0."""
        return self.kinds_of_hay + self.keys * self.parts * self.values

    def texts(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return token numbers, shape (count, tokens), and the answers, shape (count, needles, parts).

        Args:
            count: texts.
            generator: seeded source of chance.
        """

        def some(size: int, of: int) -> Tensor:
            return torch.rand(count, of, generator=generator).argsort(1)[:, :size]  # (count, size), all different

        text = torch.randint(self.kinds_of_hay, (count, self.hay), generator=generator)
        keys = some(self.needles, self.keys)
        values = torch.randint(self.values, (count, self.needles, self.parts), generator=generator)
        codes = (keys[..., None] * self.parts + torch.arange(self.parts)) * self.values + values
        text.scatter_(1, some(self.needles * self.parts, self.hay), self.kinds_of_hay + codes.flatten(1))
        return torch.cat([text, self.first_question + keys], 1), values


class NeedleReader(Reader):
    """A model of one attention layer and one MLP that answers each question with the values of its key's parts.

    Args:
        task: what it reads.
        dims: the attention layer, one of DeepSeek-V4's three kinds.
        hidden: its width.
    """

    def __init__(self, task: NeedleTask, dims: arch.SharedWindow, hidden: int = 64) -> None:
        super().__init__()
        kinds: dict[type[arch.SharedWindow], type[SharedWindow]] = {arch.CSA: CSA, arch.HCA: HCA}
        self.task = task
        self.hay = nn.Embedding(task.kinds_of_hay, hidden)
        self.key = nn.Embedding(task.keys, hidden)
        self.value = nn.Embedding(task.parts * task.values, hidden)
        self.question = nn.Embedding(task.keys, hidden)
        self.attention = kinds.get(type(dims), SharedWindow)(dims, hidden, Rope())
        self.norms = nn.ModuleList([RMSNorm(hidden), RMSNorm(hidden)])
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.SiLU(), nn.Linear(4 * hidden, task.parts * task.values)
        )

    def embed(self, text: Tensor) -> Tensor:
        """Return the attention layer's input, shape (count, tokens, hidden), of token numbers."""
        task, code = self.task, (text - self.task.kinds_of_hay).clamp(min=0)
        code = code.clamp(max=task.first_question - task.kinds_of_hay - 1)
        each = task.parts * task.values
        known = self.key(code // each) + self.value(code % each)
        asked = self.question((text - task.first_question).clamp(min=0))
        is_hay, is_question = (text < task.kinds_of_hay)[..., None], (text >= task.first_question)[..., None]
        hay = self.hay(text.clamp(max=task.kinds_of_hay - 1))
        embedded: Tensor = self.norms[0](torch.where(is_hay, hay, torch.where(is_question, asked, known)))
        return embedded

    def forward(self, text: Tensor) -> Tensor:
        """Return the logits of each question's answers, shape (count, needles, parts, values)."""
        x = self.embed(text)
        x = (x + self.attention(x))[:, self.task.hay :]
        logits: Tensor = self.mlp(self.norms[1](x))
        return logits.unflatten(-1, (self.task.parts, -1))  # (count, needles, parts, values)

    def losses(self, texts: int, generator: torch.Generator) -> tuple[Tensor, Tensor | float]:
        """Return the cross-entropy of its answers to new texts, and the indexer's loss if there is one.

        Args:
            texts: how many.
            generator: seeded source of chance.
        """
        text, answers = self.task.texts(texts, generator)
        loss = F.cross_entropy(self(text).flatten(0, 2), answers.flatten())
        return loss, index_loss(self.attention, self.embed(text)) if isinstance(self.attention, CSA) else 0.0


def index_loss(layer: CSA, hidden: Tensor) -> Tensor:
    """Return how far the indexer's ranking is from the attention it should predict.

    Kullback-Leibler divergence from the heads' summed and normalised attention to all compressed entries; gradients
    reach the indexer alone. Only for whole sequences that start at position 0.

    Args:
        layer: the CSA layer.
        hidden: its input, shape (batch, n, hidden).

    Source: DeepSeek-V3.2-Exp report eq. 3-4 (there over tokens).
    """
    hidden, positions = hidden.detach(), Span.of(0, hidden.shape[1], hidden.device)
    cache = layer.new_cache(*hidden.shape[:2])
    cache.advance(hidden.shape[1])
    keys = layer._remember(hidden, positions, cache)
    assert keys.index is not None
    closed = layer.closed(positions)
    seen = closed > 0  # earlier queries have nothing to choose from
    latent, q = layer.queries(hidden, positions)
    scores = layer.index_scores(hidden, latent.detach(), positions, keys.index)
    with torch.no_grad():
        raw, visible = keys.window.near(positions)
        sets = [KeySet(raw, raw, visible), layer._all_entries(positions, keys, hidden.dtype)]
        entries = weigh(q, sets, layer.scale, layer.sink)[1].sum(2)[:, seen]  # (batch, queries, n)
        target = entries / entries.sum(-1, keepdim=True).clamp_min(1e-9)
    predicted = scores[:, seen].log_softmax(-1).clamp_min(-30.0)
    return F.kl_div(predicted, target, reduction="none").sum(-1).mean()


#: Width of an entry and of an index key, heads, window: small, so that 16 parts are a burden.
_SMALL: dict[str, int] = {"heads": 4, "rope_dim": 8, "head_dim": 32, "q_rank": 64, "groups": 2, "group_dim": 64}
_ENTRY: arch.Layout = ((32, "bf16"),)
_INDEX_KEY: arch.Layout = ((16, "bf16"),)


def variants(task: NeedleTask) -> Mapping[str, arch.SharedWindow]:
    """Return the layers that are compared: all raw tokens, HCA with blocks of 4, 16 and 64, CSA of 4 and 16."""
    small = {**_SMALL, "window": 8}
    index = {"index_heads": 8, "index_dim": 16, "index_key": _INDEX_KEY, "top_k": task.tokens}
    layers: dict[str, arch.SharedWindow] = {"full": arch.SharedWindow(entry=_ENTRY, **{**small, "window": task.tokens})}
    layers |= {f"HCA {m}": arch.HCA(entry=_ENTRY, block=m, **small) for m in (4, 16, 64)}
    layers |= {f"CSA {m}": arch.CSA(entry=_ENTRY, block=m, **small, **index) for m in (4, 16)}  # type: ignore[arg-type]
    return layers


@dataclass(frozen=True)
class NeedleRow:
    """What share of the parts one variant finds, and at what cost."""

    variant: str  # name of the attention layer
    tokens_per_entry: int  # tokens that one entry of its cache stands for
    top_k: int | None  # entries that a question reads; None: as many as there are
    recall: float  # share of right answers, 0 to 1
    kept_bytes: int  # bytes that its cache holds after a text
    read_bytes: int  # bytes of entries and index keys that one question reads


def ask(
    name: str, reader: NeedleReader, top_k: int | None = None, texts: int = 128, rng: torch.Generator | None = None
) -> NeedleRow:
    """Return the share of right answers of a trained reader, which stays as it is.

    Args:
        name: of the variant.
        reader: trained.
        top_k: entries that CSA may read; None: as many as there are, whatever it was trained with.
        texts: how many texts to ask about.
        rng: seeded source of chance; None: seed 0.

    Raises:
        ValueError: top_k for a layer without indexer, or below 1.
    """
    layer = reader.attention
    if top_k is not None and (not isinstance(layer, CSA) or top_k < 1):
        raise ValueError(f"top_k = {top_k} needs a CSA layer and at least 1, got {type(layer).__name__}")
    text, answers = reader.task.texts(texts, rng or torch.Generator().manual_seed(0))
    with torch.no_grad(), _reading(layer, top_k or reader.task.tokens):
        right = (reader(text).argmax(-1) == answers).double().mean().item()
        read = _read_bytes(layer.dims, reader.task.tokens)
    cache = layer.new_cache(1, reader.task.tokens)
    kept = sum(size for part, size in cache.nbytes().items() if part != "state")
    block = layer.dims.block if isinstance(layer, HCA) else 1
    return NeedleRow(name, block, top_k, right, kept, read)


@contextmanager
def _reading(layer: SharedWindow, top_k: int) -> Iterator[None]:
    """Let a CSA layer read so many entries for a while."""
    before = layer.dims
    if isinstance(before, arch.CSA):
        layer.dims = replace(before, top_k=top_k)
    try:
        yield
    finally:
        layer.dims = before


def _read_bytes(dims: arch.SharedWindow, tokens: int) -> int:
    """Return bytes of all that a query at the end reads: the read entries' and every index key's."""
    entry = arch.layout_bytes(dims.entry)
    total = entry * min(dims.window, tokens)
    if isinstance(dims, arch.HCA):
        blocks = tokens // dims.block
        chosen = min(blocks, dims.top_k) if isinstance(dims, arch.CSA) else blocks
        total += entry * chosen
        total += arch.layout_bytes(dims.index_key) * blocks if isinstance(dims, arch.CSA) else 0
    return int(total)


def trained_readers(task: NeedleTask | None = None, path: Path = NEEDLE_WEIGHTS) -> dict[str, NeedleReader]:
    """Return the readers that `tools/train_needle.py` trained, by variant.

    Args:
        task: what they were trained for.
        path: file of `save_weights`.
    """
    task = task or NeedleTask()
    return load_weights(path, {name: NeedleReader(task, dims) for name, dims in variants(task).items()})


def ask_all(
    readers: Mapping[str, NeedleReader], top_ks: Iterable[int] = (1, 2, 4, 8, 16), texts: int = 128
) -> Sequence[NeedleRow]:
    """Return recall and bytes of every variant, CSA at each k, all asked about the same texts."""
    rows = []
    for name, reader in readers.items():
        if isinstance(reader.attention, CSA):
            every = reader.task.tokens // reader.attention.dims.block
            rows += [ask(name, reader, k, texts) for k in sorted({every, *(k for k in top_ks if k < every)})]
        else:
            rows.append(ask(name, reader, None, texts))
    return rows
