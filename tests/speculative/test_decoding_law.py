"""Sampled text has the target's law, through the whole decoder: exact laws of Markov chains, and mistakes put back in.

Each test is a chi-square test at level .001 of all texts of three tokens behind one token, so of contexts too.
"""

from __future__ import annotations

import numpy as np
import pytest
from speculative import toys

from costlab.nn.speculative import drafts as drafting
from costlab.nn.speculative import rounds
from costlab.nn.speculative.decoding import conditional_acceptance, generate_texts
from costlab.nn.speculative.drafts import ModelDraft, TreeDraft
from costlab.nn.speculative.lookups import LookupDraft
from costlab.speculative import chi_square, power, random_pair, text_law
from costlab.speculative.faulty import MISTAKES
from costlab.speculative.theory import expected_tokens

VOCABULARY, TOKENS, TEXTS, FEW = 4, 3, 4000, 2000
PAIR = random_pair(VOCABULARY, 0.6, np.random.default_rng(5), concentration=1.0)
LAW = text_law(PAIR.target, TOKENS)[0]
DRAFTS = {
    "plain": lambda: None,
    "draft": lambda: ModelDraft(toys.MarkovRunner(PAIR.draft), 2),
    "comb": lambda: ModelDraft(toys.MarkovRunner(PAIR.draft), 2, children=2),
    "tree": lambda: TreeDraft(toys.MarkovRunner(PAIR.draft), (2, 2)),
    "drawn tree": lambda: TreeDraft(toys.MarkovRunner(PAIR.draft), (3, 2), drawn=True),
    "lookup": lambda: LookupDraft(2),
}
#: A prompt whose last token is 0, and in which each token has been followed by another one.
PROMPT = [0, 1, 2, 3, 1, 0, 2, 0]


def p_value(draft, texts=TEXTS, **options):
    """How likely counts like these are under the exact law."""
    found = generate_texts(
        toys.MarkovRunner(PAIR.target), [PROMPT] * texts, draft, tokens=TOKENS, temperature=1.0, seed=1, **options
    )
    counts = np.zeros(len(LAW))
    for each in found:
        a, b, c = each.tokens
        counts[(a * VOCABULARY + b) * VOCABULARY + c] += 1
    return chi_square(counts, LAW).p_value


@pytest.mark.parametrize("name", DRAFTS)
def test_texts_have_the_targets_law(name):
    assert p_value(DRAFTS[name]()) > 0.001


def test_power():
    """A text law that lies 5% off in total variation would be rejected nearly always."""
    off = 0.95 * LAW + 0.05 * text_law(PAIR.draft, TOKENS)[0]
    away = LAW + 0.1 * (off - LAW) / (0.5 * np.abs(off - LAW).sum())
    assert power(LAW, np.clip(away, 0, None) / np.clip(away, 0, None).sum(), TEXTS) > 0.99


@pytest.mark.parametrize("key", ["D", "F", "G", "reseeded", "shared", "drops doubtful"])
def test_wrong_rules_are_seen(key, monkeypatch):
    """Mutants of the rule, bug 21 among them, in the decoder's place of the right one."""
    mistake = MISTAKES[key]

    def decide(drafted, q, p, accept, last):
        return mistake.decide(*map(np.asarray, (drafted, q, p, accept, last)))

    monkeypatch.setattr(rounds, "verify_many", decide)
    assert p_value(DRAFTS["draft"](), FEW) < 0.001


def test_a_draft_that_misstates_its_law_is_seen(monkeypatch):
    """Bugs 1 to 4: the likeliest token drafted, the softmax reported as what it was drawn from."""
    monkeypatch.setattr(drafting, "draw", lambda laws, uniforms: laws.argmax(-1))
    assert p_value(DRAFTS["draft"](), FEW) < 0.001


def test_a_row_too_late_is_seen(monkeypatch):
    """Each drafted token tested by the law behind it: right only where the context does not matter."""
    monkeypatch.setattr(rounds, "verify_many", lambda *known: MISTAKES["E"].decide(*map(np.asarray, known)))
    assert p_value(DRAFTS["draft"](), FEW) < 0.001


# --- acceptance ------------------------------------------------------------------------------------------------


def test_acceptance_is_the_overlap_of_the_laws():
    """Bug 6: not only the law, also how often drafts are kept; and tokens per pass are what theory makes of it.

    The pair accepts .6 in every context; shares lie within 4 standard errors.
    """
    found = generate_texts(
        toys.MarkovRunner(PAIR.target),
        [PROMPT] * 500,
        ModelDraft(toys.MarkovRunner(PAIR.draft), 3),
        tokens=41,
        temperature=1.0,
    )
    tried = np.sum([each.tried for each in found], axis=0)
    measured = conditional_acceptance(found)
    assert np.all(np.abs(measured - 0.6) < 4 * np.sqrt(0.24 / tried))
    tokens, passes = sum(len(each.tokens) for each in found), sum(each.passes for each in found)
    assert tokens / passes == pytest.approx(expected_tokens(0.6, 3), rel=0.03)  # the last rounds are cut
    assert tokens / passes == pytest.approx(expected_tokens(measured), rel=0.03)


def test_one_hot_drafts_are_kept_with_the_targets_chance():
    """A copied token is kept with its own probability p(x), not with p/q of some score."""
    runner = toys.MarkovRunner(np.array([[0.3, 0.7], [0.5, 0.5]]))
    found = generate_texts(runner, [[0, 1, 0]] * 4000, LookupDraft(1), tokens=2, temperature=1.0)  # copies 1 behind 0
    tried, kept = sum(each.tried[0] for each in found), sum(each.accepted[0] for each in found)
    assert tried >= 4000
    assert abs(kept / tried - 0.7) < 4 * np.sqrt(0.21 / tried)
