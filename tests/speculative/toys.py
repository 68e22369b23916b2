"""Small models to decode with: random byte models and their neighbours, Markov chains, and a decoder of each kind."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from attention import dims
from oracles import randomise

from costlab import arch
from costlab.catalog import Running
from costlab.nn.decoder import Decoder
from costlab.nn.speculative.drafts import ModelDraft, MTPDraft, TreeDraft
from costlab.nn.speculative.lookups import LookupDraft, TableDraft
from costlab.nn.speculative.model import MTP, ByteModel, ByteSize
from costlab.nn.speculative.ngram import NGrams
from costlab.nn.speculative.runners import ByteRunner, Vocabulary


def byte_model(seed: int = 0, layers: int = 2, hidden: int = 32, context: int = 768) -> ByteModel:
    """A random model in float64 whose greedy text is no loop from the start."""
    torch.manual_seed(seed)
    model = ByteModel(ByteSize(layers, hidden, 4, 2 * hidden, context)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0 if weight.dim() > 1 else 1.0)
    return model


def near(model: torch.nn.Module, by: float = 0.05, seed: int = 1) -> torch.nn.Module:
    """The same model with each matrix a little off: a draft that is often right."""
    torch.manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight) * by * weight.std() if weight.dim() > 1 else 0.0)
    return other


def short(model: ByteModel, context: int) -> ByteModel:
    """The same weights with a shorter context."""
    other = ByteModel(dataclasses.replace(model.size, context=context)).double().eval()
    other.load_state_dict(model.state_dict())
    return other


def some_prompts(count: int, seed: int = 0, longest: int = 20) -> list[bytes]:
    """Random bytes of unlike length, from one on."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, 1 + place % longest).astype(np.uint8).tobytes() for place in range(count)]


def byte_drafts(target: ByteModel, text: bytes = b"") -> dict[str, object]:
    """Each way to draft for a random byte model; the table is counted from a text."""
    draft = near(target)
    torch.manual_seed(2)
    modules = MTP(target, 3).to(target.head.weight.dtype)
    return {
        "draft": ModelDraft(ByteRunner(draft), 3),
        "comb": ModelDraft(ByteRunner(draft), 3, children=2),
        "mtp": MTPDraft(modules),
        "mtp comb": MTPDraft(modules, 2, children=3),
        "tree": TreeDraft(ByteRunner(draft), (3, 2, 1)),
        "drawn tree": TreeDraft(ByteRunner(draft), (2, 2, 1), drawn=True),
        "lookup": LookupDraft(5),
        "table": TableDraft(NGrams(text or bytes(range(256)) * 2, 3), 4),
        "table argmax": TableDraft(NGrams(text or bytes(range(256)) * 2, 3), 4, drawn=False),
    }


# --- Markov chains ---------------------------------------------------------------------------------------------


class MarkovRunner:
    """A model whose law of the next token is a row of a table, chosen by the last token: its texts have a known law."""

    context = 10**6

    def __init__(self, table: np.ndarray) -> None:
        with np.errstate(divide="ignore"):
            self.logits = np.log(table)
        self.vocabulary = Vocabulary(tuple(str(token).encode() for token in range(len(table))))

    def start(self, batch: int, capacity: int) -> None:
        self.lengths = [0] * batch

    def read(self, rows: Sequence[Sequence[int]], parents: object = None) -> np.ndarray:
        most = max(map(len, rows))
        tokens = np.array([[*own, *[0] * (most - len(own))] for own in rows], dtype=np.int64).reshape(len(rows), most)
        self.before, self.lengths = self.lengths, [a + len(b) for a, b in zip(self.lengths, rows, strict=True)]
        return self.logits[tokens]

    def rewind(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)

    def keep(self, rows: Sequence[Sequence[int]]) -> None:
        self.lengths = [start + len(own) for start, own in zip(self.before, rows, strict=True)]

    def only(self, sequences: Sequence[int]) -> None:
        self.lengths = [self.lengths[each] for each in sequences]


# --- decoders of the catalog's kinds ---------------------------------------------------------------------------

#: The catalog's record that says how positions turn, and the layers.
KINDS = {
    "ring": ("mimo-v2-flash", (dims.SLIDING, dims.GQA, dims.SLIDING)),
    "MLA": ("deepseek-v3", (dims.MLA, dims.MLA)),
    "DSA": ("deepseek-v3.2", (dims.DSA, dims.DSA)),
    "HCA": ("deepseek-v4-flash", (dims.WINDOW, dims.HCA, dims.HCA)),
    "CSA": ("deepseek-v4-flash", (dims.CSA, dims.WINDOW, dims.CSA)),
}


def decoder(kind: str, vocab: int = 40) -> Decoder:
    """A random decoder in float64 with layers of a kind, its caches in FP32."""
    name, attention = KINDS[kind]
    record = arch.load(name).record
    running = record.running if record.running.rope_theta else Running({each.kind: 1e4 for each in attention})
    record = dataclasses.replace(record, hidden=dims.HIDDEN, vocab=vocab, running=running)
    layers = tuple((each, arch.Dense(64)) for each in attention)
    return randomise(Decoder(arch.Model(f"toy-{kind}", record, layers))).double()
