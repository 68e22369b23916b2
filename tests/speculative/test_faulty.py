"""Wrong rules are wrong by the amounts that a trial found, and the article's loop ends as it does."""

import math

import numpy as np
import pytest
from speculative.measure import mistaken_text_law

from costlab.speculative import distance, distribution, one_hot, random_pair, write_texts
from costlab.speculative.faulty import MISTAKES, ArticleRun, article_loop

# Mean total variation of one position, 16 tokens, 200 random pairs, at acceptance .5, .7, .8, .9.
ACCEPTANCES = (0.5, 0.7, 0.8, 0.9)
TRIAL = {
    "A": (0.90, 0.74, 0.68, 0.68),
    "B": (0.31, 0.57, 0.64, 0.67),
    "C": (0.236, 0.101, 0.060, 0.028),
    "D": (0.120, 0.071, 0.048, 0.025),
    "F": (0.029, 0.032, 0.039, 0.044),
    "G": (0.24, 0.24, 0.24, 0.25),
}


@pytest.mark.parametrize("column", range(4))
def test_wrong_rules_are_off_by_what_a_trial_found(column: int) -> None:
    """Its pairs were others: four standard errors of the difference of two means over 200, and its rounding."""
    rng = np.random.default_rng(0)
    pairs = [random_pair(16, ACCEPTANCES[column], rng) for _ in range(20)]
    laws = [(p, q) for pair in pairs for p, q in zip(pair.target[:10], pair.draft[:10], strict=True)]
    for key, row in TRIAL.items():
        found = np.array([distance(MISTAKES[key].law(p, q), p) for p, q in laws])
        rounding = 0.5 * 10.0 ** -(3 if row[column] < 0.1 or key in "CD" else 2)
        error = 4 * found.std() * math.sqrt(2 / len(found)) + rounding
        assert found.mean() == pytest.approx(row[column], abs=error), key


@pytest.mark.parametrize("accepted", [0.5, 0.8])
def test_identities_between_wrong_rules(accepted: float) -> None:
    """A emits the draft's likeliest token and nothing else; C is min(p, q) / a; D is off a times as far as C."""
    pair = random_pair(16, accepted, np.random.default_rng(1))
    for p, q in zip(pair.target, pair.draft, strict=True):
        np.testing.assert_allclose(MISTAKES["A"].law(p, q), one_hot(q.argmax(), 16))
        np.testing.assert_allclose(MISTAKES["C"].law(p, q), np.minimum(p, q) / accepted)
        far = [float(distance(MISTAKES[key].law(p, q), p)) for key in "CD"]
        assert far[1] == pytest.approx(accepted * far[0])


@pytest.mark.parametrize("key", MISTAKES)
def test_rounds_follow_the_laws_that_are_stated_for_them(key: str) -> None:
    """Rounds of one drafted token: the first token's law, from 50,000 texts, within four standard errors."""
    pair, mistake = random_pair(3, 0.6, np.random.default_rng(3), concentration=1.0), MISTAKES[key]
    context = np.zeros(50_000, dtype=int)
    rng = np.random.default_rng(0)
    written = write_texts(pair, context, 1, 1, rng, mistake.decide, mistake.drawn_from(pair.draft), most_passes=500)
    law = mistaken_text_law(mistake, pair, 1, 1)[0]
    if not mistake.late:
        np.testing.assert_allclose(law, mistake.law(pair.target[0], pair.draft[0]), atol=1e-12)
    share = np.bincount(written.text[:, 0], minlength=3) / len(context)
    np.testing.assert_allclose(share, law, atol=4 * np.sqrt(0.25 / len(context)))


def test_a_round_that_never_emits_has_no_law() -> None:
    assert np.isnan(MISTAKES["A"].law([0.0, 1.0], [1.0, 0.0])).all()


# --- the article's loop ----------------------------------------------------------------------------------------


PAIRS, TOKENS = 5, 80
CLOSE, MIDDLING, POOR = 0.3, 0.8, 2.0  # noise on the draft's logits: acceptances .90, .72, .45 here


def pair_of_logits(noise: float, seed: int) -> list[np.ndarray]:
    """Logits of a target and a draft of 16 tokens that depend on the last token, each row centred."""
    rng = np.random.default_rng(seed)
    target = 1.5 * rng.normal(size=(16, 16))
    draft = target + noise * rng.normal(size=(16, 16))
    return [logits - logits.mean(axis=-1, keepdims=True) for logits in (target, draft)]


def loops(noise: float, **repairs: bool) -> list[ArticleRun]:
    """Runs of the loop, five drafted tokens a pass, stopped after twice as many passes as tokens are wanted."""
    runs = []
    for seed in range(PAIRS):
        models = [lambda text, z=z: z[np.asarray(text)] for z in pair_of_logits(noise, seed)]
        rng = np.random.default_rng(100 + seed)
        runs.append(article_loop(*models, [0], TOKENS, rng, most_passes=2 * TOKENS, **repairs))
    return runs


def unfinished(runs: list[ArticleRun]) -> int:
    return sum(not run.finished for run in runs)


@pytest.mark.parametrize("noise", [CLOSE, MIDDLING, POOR])
def test_as_written_it_does_not_finish(noise: float) -> None:
    runs = loops(noise)
    assert unfinished(runs) == PAIRS
    assert np.mean([run.idle_share for run in runs]) > 0.95
    assert all(len(run.accepted) == 2 * TOKENS for run in runs)


def test_repaired_in_part_it_finishes_with_good_drafts_at_most() -> None:
    """The trial: index alone 0, 16, 30 of 30 unfinished; probabilities alone 30, 30, 30; both 0, 10, 30."""
    index = [unfinished(loops(noise, right_row=True)) for noise in (CLOSE, MIDDLING, POOR)]
    chances = [unfinished(loops(noise, softmaxed=True)) for noise in (CLOSE, MIDDLING, POOR)]
    both = [unfinished(loops(noise, softmaxed=True, right_row=True)) for noise in (CLOSE, MIDDLING, POOR)]
    assert index[0] == both[0] == 0
    assert index[2] >= PAIRS // 2 and both[2] >= PAIRS // 2
    assert index == sorted(index) and both == sorted(both)
    assert min(chances) >= PAIRS - 1


def test_repaired_in_both_it_writes_the_drafts_text_and_misreports_its_gain() -> None:
    """Where it finishes: most tokens are the draft's likeliest ones, and tokens per pass are more than it says."""
    greedy, chance = [], []
    for seed, run in enumerate(loops(CLOSE, softmaxed=True, right_row=True)):
        target, draft = pair_of_logits(CLOSE, seed)
        text = np.array(run.tokens)
        greedy.append(np.mean(draft[text[:-1]].argmax(-1) == text[1:]))
        chance.append(distribution(target).max(axis=-1).mean())
        assert run.reported_speedup < (len(text) - 1) / len(run.accepted)
    assert np.mean(greedy) > 0.7 > 0.5 > np.mean(chance)


def test_it_counts_the_prompt_overshoots_and_reports_nothing_of_nothing() -> None:
    def certain(text):
        return np.eye(3)[np.asarray(text)] * 50

    none = article_loop(certain, certain, [0, 1, 2], 3, np.random.default_rng(0))
    assert none.tokens == (0, 1, 2) and none.finished and not none.accepted
    assert math.isnan(none.reported_rate) and math.isnan(none.idle_share)
    over = article_loop(certain, certain, [0], 3, np.random.default_rng(0), softmaxed=True, right_row=True)
    assert len(over.tokens) == 1 + 5 + 1
    assert (over.reported_rate, over.reported_speedup) == (1.0, 5.0)  # six tokens of one pass


def test_with_one_drafted_token_it_reports_no_gain_whatever_is_kept() -> None:
    for kept in ((1, 1, 1), (1, 0), (0,)):
        assert ArticleRun((), True, kept, 1).reported_speedup == pytest.approx(1)
