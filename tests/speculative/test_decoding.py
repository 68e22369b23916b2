"""Every way to draft gives the target's own text: token for token at temperature 0, whatever the batch and the end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from effort import examples, is_full
from speculative import toys

from costlab.nn.speculative import drafts as drafting
from costlab.nn.speculative import held_out_text, load_family
from costlab.nn.speculative.decoding import Generation, conditional_acceptance, generate_texts, streams_of
from costlab.nn.speculative.drafts import ModelDraft, MTPDraft, TreeDraft
from costlab.nn.speculative.lookups import LookupDraft, TableDraft
from costlab.nn.speculative.model import MTP
from costlab.nn.speculative.rounds import Line
from costlab.nn.speculative.runners import ByteRunner, DecoderRunner, Vocabulary
from costlab.nn.speculative.shipped import shipped_table
from costlab.speculative import Streams

TARGET = toys.byte_model()
DRAFTS = toys.byte_drafts(TARGET)
PROMPTS = toys.some_prompts(8)


@pytest.fixture(scope="module")
def plain() -> list[Generation]:
    return generate_texts(TARGET, PROMPTS, tokens=60)


def texts(generations: list[Generation]) -> list[tuple[int, ...]]:
    return [each.tokens for each in generations]


# --- token for token -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> tuple[object, list[bytes], list[tuple[int, ...]]]:
    """Prompts, and 200 tokens behind each, from a model of two layers in float64."""
    target = toys.byte_model(hidden=16)
    prompts = toys.some_prompts(examples(200))
    return target, prompts, texts(generate_texts(target, prompts, tokens=200))


@pytest.mark.parametrize("name", ["draft", "comb", "mtp", "tree", "lookup", "table"])
def test_greedy_text_is_plain_text(many, name):
    """Prompts of unlike length in one batch, 200 tokens each; 200 of them with `make test-all`, a quarter else."""
    target, prompts, wanted = many
    draft = toys.byte_drafts(target, b"".join(bytes(tokens[:100]) for tokens in wanted))[name]
    found = generate_texts(target, prompts, draft, tokens=200)
    assert texts(found) == wanted
    assert 200 * len(found) / sum(each.passes for each in found) > (1 if name == "mtp" else 1.3)  # drafts were kept
    assert len({each.passes for each in found}) > 4  # and unlike ones in each sequence


@pytest.mark.parametrize("method", ["draft", "mtp", "mtp comb", "tree", "lookup", "table"])
def test_greedy_text_of_the_shipped_models(method, shipped):
    """In float64; 200 prompts and 200 tokens with `make test-all`, else 25 and 50."""
    family, prompts, wanted = shipped
    draft = {
        "draft": ModelDraft(ByteRunner(family.draft), 3),
        "mtp": MTPDraft(family.mtp),
        "mtp comb": MTPDraft(family.mtp, children=2),
        "tree": TreeDraft(ByteRunner(family.draft), (3, 2, 1)),
        "lookup": LookupDraft(7),
        "table": TableDraft(shipped_table(), 5),
    }[method]
    found = generate_texts(family.target, prompts, draft, tokens=len(wanted[0]))
    assert texts(found) == wanted
    assert sum(map(len, wanted)) / sum(each.passes for each in found) > 1.5


@pytest.fixture(scope="module")
def shipped():
    family = load_family()
    for module in (family.target, family.draft, family.mtp):
        module.double()
    text, count = held_out_text("code"), 200 if is_full() else 25
    starts = np.random.default_rng(0).integers(0, len(text) - 64, count)
    prompts = [text[start : start + 16 + start % 48] for start in starts]
    return family, prompts, texts(generate_texts(family.target, prompts, tokens=examples(200)))


@pytest.mark.parametrize("kind", toys.KINDS)
def test_decoders_of_every_kind_of_attention(kind):
    """Ring, compressor and indexer take rejected rows back: drafted text is plain text, across windows and blocks."""
    target = DecoderRunner(toys.decoder(kind))
    prompts = [[5], [7] * 9]
    wanted = generate_texts(target, prompts, tokens=24)
    for draft in (ModelDraft(DecoderRunner(toys.near(target.model)), 3), LookupDraft(4)):
        found = generate_texts(target, prompts, draft, tokens=24)
        assert texts(found) == texts(wanted)
        assert sum(each.passes for each in found) < 48  # without drafts
        assert 0 < conditional_acceptance(found)[0] < 1  # some rows were taken back, and not all


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", DRAFTS)
def test_a_batch_is_its_sequences_alone(name, temperature):
    """Bugs 20 and 25: eight sequences of unlike acceptance, in one batch, in another order, and some by themselves."""
    prompts, seeds = PROMPTS, list(range(100, 108))
    options = {"tokens": 30, "temperature": temperature, "top_p": 0.9}
    together = generate_texts(TARGET, prompts, DRAFTS[name], seed=seeds, **options)
    assert together == generate_texts(TARGET, prompts[::-1], DRAFTS[name], seed=seeds[::-1], **options)[::-1]
    for place in (0, 4, 7):  # the shortest prompt, the longest, and one between them
        alone = generate_texts(TARGET, [prompts[place]], DRAFTS[name], seed=[seeds[place]], **options)
        assert alone == [together[place]]


# --- what a draft has read -------------------------------------------------------------------------------------

#: How many drafted tokens each round accepts; "no" is a round that drafts nothing, "all" one that accepts all.
HISTORIES = [
    *([accepted, "all", "no", 0] for accepted in (0, 1, 2)),
    ["all", "all", 1, "no", "no", "all", 0, 0, 2, "no", 1],
]


@torch.inference_mode()
def replayed(draft, history, forget=False):
    """What a draft proposes after each round of a history; `forget`: a new draft for each."""
    target = ByteRunner(TARGET)
    line = Line(list(b"a prompt"), 9, 99, np.random.default_rng(0), Streams(*map(np.random.default_rng, (1, 2))))
    target.start(1, 99)
    target.read([line.text[:-1]])
    draft.start(target, 1, 99, None)
    found = []
    for number, accepted in enumerate(history):
        line.room = 0 if accepted == "no" else 9
        (proposal,) = draft.propose([line])
        found.append((list(proposal.tokens), proposal.parents))
        chain = [node for node, parent in enumerate(proposal.above) if first_child(proposal, node)]
        kept = len(chain) if accepted == "all" else 0 if accepted == "no" else accepted
        tokens = [proposal.tokens[node] for node in chain[:kept]]
        other = (number * 37 + 11) % 256  # no drafted token stands where the target would have another one
        other += other == (proposal.tokens[chain[kept]] if kept < len(chain) else -1)
        target.read([[line.text[-1], *proposal.tokens]], [[-1, *(p + 1 for p in proposal.above)]])
        target.keep([[0, *(node + 1 for node in chain[:kept])]])
        line.text += [*tokens, other]
        if forget:
            fresh = ByteRunner(TARGET)
            fresh.start(1, 99)
            fresh.read([line.text[:-1]])
            draft.start(fresh, 1, 99, None)
            target = fresh
    return found


def first_child(proposal, node):
    """Whether a node is on the path of first children."""
    while proposal.above[node] >= 0:
        if proposal.above.index(proposal.above[node]) != node:
            return False
        node = proposal.above[node]
    return node == 0


@pytest.mark.parametrize("history", HISTORIES, ids=str)
@pytest.mark.parametrize("name", ["draft", "comb", "mtp", "mtp comb", "tree", "lookup", "table"])
def test_a_history_leaves_no_trace(name, history):
    """Bugs 9 to 14: after any rounds a draft proposes what one does that has read the text once, and reads its own."""
    assert replayed(DRAFTS[name], history) == replayed(DRAFTS[name], history, forget=True)


@pytest.mark.parametrize("name", ["draft", "comb", "mtp"])
@pytest.mark.parametrize("mutant", ["takes nothing back", "takes one too few back"])
def test_a_trace_would_be_seen(name, mutant, monkeypatch):
    """Bugs 9 and 10 put back in: what was rejected, or the last of it, stays in the draft's cache."""
    right = drafting.matching
    if mutant == "takes nothing back":
        monkeypatch.setattr(drafting, "matching", lambda drafted, text, start: len(drafted))
    else:
        monkeypatch.setattr(drafting, "matching", lambda *known: min(len(known[0]), right(*known) + 1))
    assert any(leaves_a_trace(DRAFTS[name], history) for history in HISTORIES)


def leaves_a_trace(draft, history):
    try:
        return replayed(draft, history) != replayed(draft, history, forget=True)
    except RuntimeError:  # no row is left to read
        return True


# --- where a text ends -----------------------------------------------------------------------------------------

ENDS = ["draft", "comb", "mtp", "tree", "lookup"]


@pytest.mark.parametrize("name", ENDS)
def test_stop_tokens_and_caps(plain, name):
    """Bugs 15 to 17: a stop token at each place of a round, a cap at each, both in one round; counts."""
    wanted = [each.tokens for each in plain]
    for cap, place in itertools.product((1, 2, 3, 4, 5, 9), (0, 1, 2, 3, 4, 8)):
        stop = {tokens[place] for tokens in wanted[::2]}  # half of the texts stop elsewhere, or nowhere
        for each, tokens in zip(
            generate_texts(TARGET, PROMPTS, DRAFTS[name], tokens=cap, stop=stop), wanted, strict=True
        ):
            first = next((i for i, token in enumerate(tokens) if token in stop), 99)
            assert each.tokens == tokens[: min(cap, first + 1)]
            assert each.end == ("stop" if first < cap else "length")
            counted(each)


def test_caps_of_their_own(plain):
    caps = list(range(1, 9))
    found = generate_texts(TARGET, PROMPTS, DRAFTS["draft"], tokens=caps)
    assert texts(found) == [each.tokens[:cap] for each, cap in zip(plain, caps, strict=True)]


def counted(each: Generation) -> None:
    """A pass emits what it accepts and one token more, unless the text ended before that one."""
    assert len(each.tokens) - sum(each.accepted) in (each.passes, each.passes - 1)
    assert all(a <= t for a, t in zip(each.accepted, each.tried, strict=True))
    assert all(t <= a for t, a in zip(each.tried[1:], each.accepted, strict=False))  # only behind an accepted one
    assert each.tokens_per_pass == len(each.tokens) / each.passes


@pytest.mark.parametrize("name", ENDS)
def test_the_context_ends(name):
    """Bug 24: to the last token of the context, whatever is left of it for drafts."""
    target = toys.short(TARGET, 40)
    draft = toys.byte_drafts(target)[name]
    prompts = [bytes(range(length)) for length in (1, 30, 36, 37, 38, 39)]
    wanted = generate_texts(target, prompts, tokens=100)
    found = generate_texts(target, prompts, draft, tokens=100)
    assert texts(found) == texts(wanted)
    assert [len(prompt) + len(each.tokens) for prompt, each in zip(prompts, found, strict=True)] == [40] * 6
    assert {each.end for each in found} == {"context"}
    with pytest.raises(ValueError, match="40 tokens leaves no room in a context of 40"):
        generate_texts(target, [bytes(40)], draft)


@pytest.mark.parametrize("make", [ModelDraft, TreeDraft], ids=lambda make: make.__name__)
def test_the_drafts_own_context_ends_first(plain, make):
    """Bug 24: a draft of shorter context drafts as far as it can; then the target goes on alone."""
    for context in (1, 2, 19, 20, 21, 22, 40):
        draft = make(ByteRunner(toys.short(toys.near(TARGET), context)))
        found = generate_texts(TARGET, PROMPTS, draft, tokens=60)
        assert texts(found) == texts(plain)
        assert all(
            sum(each.accepted) <= max(0, context + 3 - len(prompt)) for each, prompt in zip(found, PROMPTS, strict=True)
        )


# --- processors ------------------------------------------------------------------------------------------------


def penalty(text, logits):
    """Lower what the text holds already, the more the oftener, and forbid to repeat the last token."""
    logits = logits - 2.0 * np.bincount(text, minlength=len(logits))
    logits[text[-1]] = -np.inf
    return logits


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", ENDS)
def test_a_penalty_sees_each_drafted_position(name, temperature):
    """Bugs 18 and 19: plain text under the same penalty; no token is counted twice, and none that was rejected."""
    options = {"tokens": 40, "processor": penalty, "temperature": temperature, "top_k": 1 if temperature else None}
    wanted = generate_texts(TARGET, PROMPTS, **options)
    found = generate_texts(TARGET, PROMPTS, DRAFTS[name], **options)
    assert texts(found) == texts(wanted) != texts(generate_texts(TARGET, PROMPTS, tokens=40))
    assert all(a != b for each in found for a, b in itertools.pairwise(each.tokens))


def test_a_processor_with_a_state_is_refused():
    seen = []

    def counting(text, logits):
        seen.append(text[-1])
        return logits - np.bincount(seen, minlength=len(logits))

    with pytest.raises(ValueError, match=r"counting.* gave two answers for one text: it keeps a state"):
        generate_texts(TARGET, PROMPTS, DRAFTS["draft"], processor=counting)


# --- seeds -----------------------------------------------------------------------------------------------------


def test_seeds():
    """Bug 20: a seed is a text; a number stands for as many seeds, one after the other; and two seeds differ."""
    options = {"tokens": 30, "temperature": 1.0}
    for draft in (None, DRAFTS["draft"]):
        same = [generate_texts(TARGET, ["cost"] * 4, draft, seed=7, **options) for _ in range(2)]
        assert same[0] == same[1]
        assert len(set(texts(same[0]))) == 4
        assert generate_texts(TARGET, ["cost"] * 2, draft, seed=[9, 7], **options) == [same[0][2], same[0][0]]


def test_streams_are_apart():
    """What a draft draws changes no draw of the rule; and all draws of two seeds differ."""
    first = []

    class Spy(LookupDraft):
        def propose(self, lines):
            first.append([line.drawing.random() for line in lines])
            return super().propose(lines)

    generate_texts(TARGET, PROMPTS, Spy(), tokens=1, temperature=1.0, seed=3)
    quiet = generate_texts(TARGET, PROMPTS, LookupDraft(), tokens=30, temperature=1.0, seed=3)
    assert generate_texts(TARGET, PROMPTS, Spy(), tokens=30, temperature=1.0, seed=3) == quiet
    draws = {stream.random() for seed in (3, 4) for stream in (streams_of(seed)[0], *streams_of(seed)[1])}
    assert len(draws) == 6
    assert len(set(first[0])) == len(PROMPTS)


# --- bad input -------------------------------------------------------------------------------------------------


def test_a_vocabulary_in_another_order_is_refused():
    """Bug 23: of equal size, with two tokens exchanged; and a smaller one."""
    names = [bytes([value]) for value in range(256)]
    names[97], names[98] = names[98], names[97]
    other = ByteRunner(toys.near(TARGET), Vocabulary(tuple(names)))
    for draft in (ModelDraft(other), TreeDraft(other)):
        with pytest.raises(ValueError, match="token 97 is b'a' to the target and b'b' to the draft"):
            generate_texts(TARGET, PROMPTS, draft)
    small = DecoderRunner(toys.decoder("ring"))
    with pytest.raises(ValueError, match="256 tokens and the draft's 40"):
        generate_texts(TARGET, PROMPTS, ModelDraft(small))
    with pytest.raises(ValueError, match="is b'<toy-MLA 0>' to the target and b'<toy-ring 0>' to the draft"):
        generate_texts(toys.decoder("MLA"), [[1]], ModelDraft(small))
    with pytest.raises(ValueError, match="256"):
        generate_texts(small, [[1]], DRAFTS["table"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompts": [b""]}, "an empty prompt"),
        ({"prompts": [[1, 256]]}, "256"),
        ({"prompts": [[1, -1]]}, "-1"),
        ({"tokens": 0}, "tokens"),
        ({"tokens": 1.5}, "1.5"),
        ({"tokens": [5, 6]}, "one for each of 1 prompts"),
        ({"temperature": -1}, "temperature = -1"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 1.5}, "seed = 1.5"),
        ({"seed": [1, 2]}, "one for each of 1 prompts"),
        ({"stop": [300]}, "300"),
    ],
)
def test_bad_input(options, says):
    with pytest.raises(ValueError, match=says):
        generate_texts(TARGET, **{"prompts": ["cost"], "draft": DRAFTS["draft"], **options})


def test_what_cannot_draft_is_refused():
    with pytest.raises(ValueError, match="trained with, and for no other"):
        generate_texts(toys.near(TARGET), PROMPTS, DRAFTS["mtp"])
    with pytest.raises(ValueError, match="length = 4 is more than 3 modules"):
        MTPDraft(MTP(TARGET, 3), 4)
    with pytest.raises(ValueError, match="not a token tree"):
        ring = toys.decoder("ring")
        generate_texts(ring, [[1]], TreeDraft(DecoderRunner(ring)))
    for make in (
        lambda: ModelDraft(ByteRunner(TARGET), 0),
        lambda: LookupDraft(0),
        lambda: TreeDraft(ByteRunner(TARGET), []),
    ):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(ValueError, match="'cost' should be token numbers"):
        generate_texts(toys.decoder("ring"), ["cost"])
    assert generate_texts(TARGET, []) == []
