"""What proposes tokens for a target to check: each drafter is a model too, so that all counts of a model are its own.

>>> from costlab import arch
>>> v3 = arch.load("deepseek-v3")
>>> module = arch.drafter("mtp", v3)
>>> round(module.own_params / 1e9, 1)  # beside the embedding and the head that it shares
11.6

"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from costlab import catalog
from costlab.arch import configs
from costlab.arch.attention import FullAttention
from costlab.arch.experts import Dense, MoE
from costlab.arch.loading import load
from costlab.arch.model import Model
from costlab.catalog import FrozenDict

#: Words for drafters that are no model.
DRAFT_KINDS = frozenset({"mtp", "eagle3", "lookup"})

#: Dimensions of a head in a draft layer whose target has none of plain attention to go by: those of the Llama models.
HEAD_DIM, KV_HEADS = 128, 8


@dataclass(frozen=True)
class Drafter:
    """What proposes one token after another: a model that runs once for each, or a look-up that costs nothing."""

    name: str  # in words
    model: Model | None  # what runs for a drafted token; None for a look-up in the text or a table
    modules: int = 1  # of that shape, with weights and cache of their own: the k-th drafts token k, the last all others
    shared: frozenset[str] = frozenset()  # components that the target holds already; they are read, not held again
    reads_states: bool = False  # whether it reads the target's hidden states, and so each accepted token once more

    @property
    def own_params(self) -> int:
        """Parameters that the drafter adds to its target's."""
        counts = {} if self.model is None else self.model.params.by_component
        return self.modules * sum(n for name, n in counts.items() if name not in self.shared)

    def rows(self, position: int, length: int) -> int:
        """Return the tokens of a sequence that the step of one drafted token reads, the latest included.

        After a round each module that reads the target's states takes in what was accepted, with its true states, as
        serving engines do it: padded to length + 1 rows. A model of its own lacks at most the last drafted token and
        the one that follows it.

        Args:
            position: of the drafted token, from 0.
            length: drafted tokens of a round.
        """
        if self.reads_states:
            return length + 1 if position < self.modules else 1
        return 1 if position else min(2, length + 1)


#: Copies a continuation found in the text or in a table: it costs the target nothing.
LOOKUP = Drafter("look-up", None)


def drafter(kind: str, target: Model) -> Drafter:
    """Return a drafter for a target by its name.

    Args:
        kind: "mtp" (the target's own modules), "eagle3" (a head), "lookup", or a model of the catalog.
        target: the model that checks the tokens.

    Raises:
        ValueError: another word; modules that the target has not; a model with another vocabulary.
    """
    match kind.lower():
        case "mtp":
            return mtp_drafter(target)
        case "eagle3":
            return eagle3_drafter(target)
        case "lookup":
            return LOOKUP
        case key if key in catalog.tables().models or configs.is_file(kind):
            return model_drafter(target, kind)
    raise ValueError(f"draft {kind!r} should be mtp, eagle3, lookup or a model, see `costlab models`")


def mtp_drafter(target: Model) -> Drafter:
    """Return a model's own multi-token-prediction modules; beyond the last one, that one is applied again.

    Raises:
        ValueError: a model without such modules in the catalog.
    """
    module, mtp = target.mtp_module, target.record.mtp
    if module is None or mtp is None:
        have = [key for key, record in catalog.tables().models.items() if record.mtp]
        raise ValueError(f"{target.name} has no multi-token-prediction module in the catalog; {', '.join(have)} have")
    return Drafter(f"MTP of {target.name}", module, mtp.modules, frozenset({"embedding", "head"}), reads_states=True)


def eagle3_drafter(target: Model) -> Drafter:
    """Return an EAGLE-3 head for a target: one layer of its width and an output head over a part of its vocabulary.

    The layer has the heads of the target's plain attention, or `HEAD_DIM` and `KV_HEADS`, and is as wide inside as the
    target's dense layer, or as the experts together that a token visits (those of a latent space by its share).

    Source: catalog/drafters.toml.
    """
    head, record = catalog.tables().draft_heads["eagle3"], target.record
    plain = next((kind for kind, _ in target.layers if type(kind) is FullAttention), None) or _llama_heads(
        record.hidden
    )
    layer = dataclasses.replace(plain, inputs=head.inputs)
    precision = FrozenDict({"default": head.weights})
    vocab = min(head.vocab, record.vocab)
    own = dataclasses.replace(
        record, name=f"{head.name} of {target.name}", vocab=vocab, weights=precision, math=precision, mtp=None,
        residual_streams=1, tied=False, norms=1, prefill_layers=None, lookup=FrozenDict(),
    )  # fmt: skip
    model = Model(f"{target.key} eagle3", own, ((layer, _dense(target)),), projection=head.features * record.hidden**2)
    return Drafter(own.name, model, shared=frozenset({"embedding"}), reads_states=True)


def model_drafter(target: Model, draft: str | Model) -> Drafter:
    """Return a smaller model of the catalog as a drafter, with weights and cache of its own.

    Raises:
        ValueError: an unknown model, or one with another vocabulary.
    """
    model = load(draft)
    if model.record.vocab != target.record.vocab:
        raise ValueError(
            f"{model.name} cannot draft for {target.name}: it has {model.record.vocab:,} tokens in its vocabulary, "
            f"the target {target.record.vocab:,}"
        )
    return Drafter(model.name, model)


def _llama_heads(hidden: int) -> FullAttention:
    heads = max(hidden // HEAD_DIM // KV_HEADS, 1) * KV_HEADS
    entry = ((HEAD_DIM, "bf16"), (HEAD_DIM, "bf16"))
    return FullAttention(heads, rope_dim=HEAD_DIM, entry=entry, kv_heads=KV_HEADS, qk_dim=HEAD_DIM, v_dim=HEAD_DIM)


def _dense(target: Model) -> Dense:
    parts = [ffn for _, ffn in target.layers]
    if dense := next((ffn for ffn in parts if isinstance(ffn, Dense)), None):
        return dense
    experts = next(ffn for ffn in parts if isinstance(ffn, MoE))
    share = (experts.latent or target.record.hidden) / target.record.hidden
    return Dense(round((experts.top_k * share + experts.shared) * experts.inner))
