"""What speculation gains on a deployment: by hand, refusals, and published behaviour out of the roofline, unfitted.

Where a published behaviour does not come out, the test's name and docstring say so. Brackets name the source's table.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from costlab import arch, catalog, roofline
from costlab.arch import Drafter, SlidingWindow
from costlab.speculative import plan, theory

MEASURED = catalog.tables()
#: Conditional acceptances from published curves other than those that they are compared with.
EAGLE3 = tuple(theory.conditional(MEASURED.curves["kimi-k2.5-thinking"].accepted_lengths)[:3].tolist())
EAGLE1 = MEASURED.positions["vicuna-7b-eagle"].acceptance[:3]


def spec(model, chip, chips, draft, acceptance, length, batch, context, **options):
    node = roofline.deployment(model, chip, chips, **options)
    drafter = arch.drafter(draft, node.model) if isinstance(draft, str) else draft
    return plan.speculate(node, drafter, acceptance, length, batch, context)


# --- by hand ---------------------------------------------------------------------------------------------------


def test_a_round_by_hand():
    """Llama-3.1-8B and its EAGLE-3 head on one H100, one sequence, 2 drafted tokens: all parts bound by memory."""
    found = spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", 0.8, 2, 1, 1000)
    weights = 2 * (8_030_261_248 - 128256 * 4096)
    head = 2 * 424_685_568
    plain = (weights + 1000 * 131_072) / 3.35e12
    drafts = [(head + n * 4096) / 3.35e12 for n in (1000, 1001)]
    verify = (weights + 1002 * 131_072) / 3.35e12
    assert found.plain.seconds == pytest.approx(plain)
    assert [step.seconds for step in found.drafts] == pytest.approx(drafts)
    assert found.round_s == pytest.approx(sum(drafts) + verify)
    assert found.tokens_per_round == pytest.approx(1 + 0.8 + 0.64)
    assert found.speedup == pytest.approx(2.44 * plain / (sum(drafts) + verify))
    assert found.tokens_per_s == pytest.approx(2.44 / found.round_s)
    assert found.usd_per_million(2.0) == pytest.approx(2.0 / 3600 * found.round_s / 2.44 * 1e6)
    assert found.plain_usd_per_million(2.0) == pytest.approx(found.usd_per_million(2.0) * found.speedup)


def test_no_draft_is_plain_decoding():
    found = spec("deepseek-v3", "h800", 32, "mtp", 0.9, 0, 512, 4096)
    assert (found.tokens_per_round, found.round_cost, found.speedup) == (1, 1, 1)
    assert found.verify.seconds == found.plain.seconds


def test_tokens_of_a_round_are_the_theorys():
    by_position = spec("deepseek-v3", "h800", 32, "mtp", [0.9, 0.5, 0.2], 3, 512, 4096)
    assert by_position.tokens_per_round == theory.expected_tokens([0.9, 0.5, 0.2])
    cost = by_position.verify.seconds / by_position.plain.seconds
    drafts = sum(step.seconds for step in by_position.drafts) / by_position.plain.seconds / 3
    assert by_position.speedup == pytest.approx(theory.speedup([0.9, 0.5, 0.2], 3, drafts, cost))


def test_a_drafter_that_is_the_target_gains_nothing():
    """It costs a plain step for each token that it drafts: at acceptance 1 four tokens in four steps and more."""
    target = arch.load("llama-3.1-8b")
    same = Drafter("itself", target, shared=frozenset(target.params.by_component))
    found = spec("llama-3.1-8b", "h100-sxm", 1, same, 1.0, 3, 1, 1000)
    assert found.tokens_per_round == 4
    assert found.speedup == pytest.approx(1, rel=2e-3)
    assert found.speedup < 1


@pytest.mark.parametrize("acceptance", [0.3, 0.6, 0.9, (0.79, 0.61, 0.46, 0.23)])
def test_the_best_length_is_best(acceptance):
    found = spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", acceptance, 1, 16, 2000)
    reach = len(acceptance) if isinstance(acceptance, tuple) else plan.LONGEST_DRAFT
    every = [spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", acceptance, n, 16, 2000).speedup for n in range(reach + 1)]
    assert every[found.best_length] == max(every)
    assert spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", 0.0, 1, 16, 2000).best_length == 0


@pytest.mark.parametrize(("chips", "width"), [(1, 1), (8, 1), (8, 8)])
def test_the_losing_batch_is_where_it_turns(chips, width):
    found = spec("llama-3.1-8b", "a100-80g", chips, "eagle3", EAGLE3[:2], 2, 1, 128, tensor_parallel=width)
    turn, step = found.losing_batch, found.deployment.replicas
    assert turn % step == 0
    gains = {n: dataclasses.replace(found)._at(batch=n).speedup for n in range(step, turn + 20 * step, step)}
    assert all((gain < 1) == (n >= turn) for n, gain in gains.items())


def test_no_losing_batch_where_memory_ends_first():
    """At 64K tokens an H100 holds 5 sequences of Llama-3.1-8B, which are bound by memory."""
    found = spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", EAGLE3, 3, 1, 65536)
    assert found.losing_batch is None
    never = spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", 0.0, 3, 1, 65536)
    assert never.losing_batch == 1


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"acceptance": 1.1}, r"acceptance = 1.1 should be between 0 and 1"),
        ({"acceptance": [0.9, 0.8]}, r"length = 3 is more than the 2 positions"),
        ({"length": -1}, r"length = -1 should be at least 0"),
        ({"batch": 0}, r"batch should be"),
        ({"context": 0}, r"context should be"),
    ],
)
def test_what_cannot_be(changed, words):
    given = {"acceptance": 0.8, "length": 3, "batch": 8, "context": 1000} | changed
    with pytest.raises(ValueError, match=words):
        spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", **given)


def test_what_does_not_fit_has_no_price():
    """The largest batch that plain decoding holds leaves no room for the drafter: it has a price, speculation none."""
    plain = roofline.deployment("llama-3.1-8b", "h100-sxm", 1)
    found = spec("llama-3.1-8b", "h100-sxm", 1, "eagle3", 0.8, 3, plain.max_batch(4096), 4096)
    assert found.speedup > 1
    assert found.plain_usd_per_million(2.0) > 0
    with pytest.raises(ValueError, match=r"GB of weights and \S+ GB of cache"):
        found.usd_per_million(2.0)
    none = spec("deepseek-v4-pro", "h800", 8, "mtp", 0.8, 3, 8, 4096)
    with pytest.raises(ValueError, match="does not fit"):
        _ = none.losing_batch


# --- published: the decline with batch -------------------------------------------------------------------------

#: Of Llama-3.1-8B, chains: arXiv 2503.01840 Table 3 (SGLang, H100) and 5 (vLLM, A100 by its caption), by our chip.
DECLINES = [
    (chip, drafter, MEASURED.speedups[f"llama-3.1-8b-{drafter}-{engine}"])
    for chip, engine in (("h100-sxm", "sglang"), ("a100-80g", "vllm"))
    for drafter in ("eagle3", "eagle")
]


def eagle1():
    """EAGLE's first head: one layer of the target, two vectors joined before it, the target's output head."""
    target = arch.load("llama-3.1-8b")
    model = dataclasses.replace(target, layers=target.layers[:1], projection=2 * target.record.hidden**2)
    return Drafter("EAGLE", model, shared=frozenset({"embedding", "head"}), reads_states=True)


def decline(chip, draft, length, batches, context, **options):
    """Speculations at each batch; short contexts, as on MT-Bench."""
    drafter, known = ("eagle3", EAGLE3) if draft == "eagle3" else (eagle1(), EAGLE1)
    return [spec("llama-3.1-8b", chip, 1, drafter, known[:length], length, b, context, **options) for b in batches]


def ranks(values):
    """Average ranks, equals share theirs."""
    return np.array([np.mean([(other < each) + (other == each) / 2 for other in values]) for each in values])


def rank_correlation(one, other):
    """Spearman's."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def test_rank_correlation():
    assert rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


@pytest.mark.parametrize("context", [128, 512])
@pytest.mark.parametrize(("chip", "draft", "published"), DECLINES)
def test_the_decline_with_batch_if_parts_of_a_step_follow_one_another(chip, draft, published, context):
    """[E3 Tables 3 and 5] Where compute and reads do not overlap, rows cost time from the first batch on. The gain
    falls at every step; the order is the published one (rank correlation at least .7: EAGLE's last two rows on H100
    rise again), and the last gain by the first is within .2 of the published ratio."""
    found = decline(chip, draft, published.draft_length, published.batches, context, overlap=False)
    ours, theirs = [each.speedup for each in found], published.speedups
    assert all(before > after for before, after in itertools.pairwise(ours))
    assert rank_correlation(ours, theirs) > 0.7
    assert ours[-1] / ours[0] == pytest.approx(theirs[-1] / theirs[0], abs=0.2)


@pytest.mark.parametrize(("chip", "draft", "published"), DECLINES)
def test_the_overlapped_roofline_declines_later_than_published(chip, draft, published):
    """[E3 Tables 3 and 5] Does not come out at these batches: with full overlap the gain is flat until the pass that
    checks is bound by compute. Only then it falls, monotonically and below 1. Published gains fall from batch 4 on."""
    wide = [*published.batches, 96, 128, 192, 256, 384, 512]
    found = decline(chip, draft, published.draft_length, wide, 128)
    flat = [each.speedup for each in found if each.verify.bound == "memory"]
    bound = [each.speedup for each in found if each.verify.bound == "compute"]
    assert len(flat) >= 6 and max(flat) / min(flat) < 1.02
    assert all(before > 0.999 * after for before, after in itertools.pairwise(bound))  # level where all is compute
    assert bound[-1] < 1 < flat[0]
    at_32 = published.speedups[published.batches.index(32)]
    assert at_32 < 0.8 * published.speedups[0]  # where ours is flat


def test_the_published_crossing_of_eagle_comes_earlier():
    """[E3 Tables 3 and 5] EAGLE falls below 1 at batch 24 and 32. That it does so comes out at short contexts, and that
    EAGLE-3 does so later; the batch does not come out: ours is several times larger, at any overlap."""
    for chip, draft, published in DECLINES:
        if draft != "eagle":
            continue
        crossing = next(b for b, gain in zip(published.batches, published.speedups, strict=True) if gain < 1)
        for overlap in (True, False):
            one, three = (
                decline(chip, each, published.draft_length, (1,), 128, overlap=overlap)[0].losing_batch
                for each in ("eagle", "eagle3")
            )
            assert 3 * crossing < one <= three


# --- published: MiMo's constant round cost ---------------------------------------------------------------------

#: XiaomiMiMo/MiMo-V2-Flash paper.pdf Table 10, by batch per node, at each accepted length that is set.
MIMO = {key: row for key, row in MEASURED.speedups.items() if key.startswith("mimo-v2-flash-")}
MIMO_BATCHES = MIMO["mimo-v2-flash-3.0"].batches
#: What a measured round costs in plain steps, whatever the accepted length: the mean over the table's columns.
MIMO_COST = np.mean([row.accepted_length / np.array(row.speedups) for row in MIMO.values()], axis=0).tolist()


def mimo(batch):
    """MiMo-V2-Flash and its three modules on one node of 8, at the accepted length 3.0 of the table."""
    even = theory.implied_acceptance(3.0, 3)
    return spec("mimo-v2-flash", "h800", 8, "mtp", even, 3, batch, 16384 + 512)


def test_mimos_round_cost_as_implied_efficiency():
    """[MIMO2 Table 10] Measured rounds cost 1.41 to 1.54 plain steps. At equal efficiency ours cost 1.53 at batch 32,
    where checking four times the rows reads more experts, and 1.11 at 128. So a round's efficiency is that of a plain
    step at batch 32, and .72 of it at 128. Chip and split are not published: one node of 8 is assumed."""
    assert [round(cost, 2) for cost in MIMO_COST] == [1.51, 1.54, 1.42, 1.41, 1.54]
    found = [mimo(batch) for batch in MIMO_BATCHES]
    assert [round(each.round_cost, 2) for each in found] == [1.53, 1.33, 1.22, 1.14, 1.11]
    ratios = [each.efficiency_ratio(cost) for each, cost in zip(found, MIMO_COST, strict=True)]
    assert [round(each, 2) for each in ratios] == [1.02, 0.86, 0.86, 0.81, 0.72]


def test_mimo_does_not_decline_to_batch_128():
    """[MIMO2 Table 10] At 16K tokens checking costs little: 1.01 plain passes at batch 128, still bound by memory, and
    the cache is most of what a chip reads besides weights. That the round's cost is constant does not come out."""
    found = {batch: mimo(batch) for batch in MIMO_BATCHES}
    gains = [each.speedup for each in found.values()]
    assert gains == sorted(gains)
    assert all(each.verify.bound == "memory" for each in found.values())
    assert found[128].verify.seconds / found[128].plain.seconds < 1.02
    assert all(min(row.speedups) > 0.9 * max(row.speedups) for row in MIMO.values())


def test_efficiency_ratio():
    found = mimo(64)
    assert found.efficiency_ratio(found.round_cost) == 1
    with pytest.raises(ValueError, match="measured_round_cost = 0"):
        found.efficiency_ratio(0)


# --- published: long contexts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "chip", "short", "short_batches", "long_batches"),
    [
        ("llama-3.1-8b", "a100-80g", 1024, (32, 64, 128, 256), (1, 4, 16, 48)),
        ("llama-3.1-70b", "h200", 1024, (64, 128, 256, 512), (1, 4, 16, 32)),
    ],
)
def test_the_long_context_reversal(model, chip, short, short_batches, long_batches):
    """[MagicDec] At 64K tokens the gain grows with the batch, for reads of the cache dominate; at a short context it
    shrinks once compute binds. All of these batches fit."""

    def gains(context, batches):
        found = [spec(model, chip, 8, "eagle3", 0.8, 3, b, context, tensor_parallel=8) for b in batches]
        found[-1].deployment.check_room(batches[-1], context + 3)
        return [each.speedup for each in found]

    falling, rising = gains(short, short_batches), gains(65536, long_batches)
    assert all(before > after for before, after in itertools.pairwise(falling))
    assert all(before < after for before, after in itertools.pairwise(rising))


def test_magicdecs_window_gains_at_64k_as_published_but_does_not_lose_at_4k_with_overlap():
    """[MagicDec] The model drafts for itself with a window of 512 tokens: published .81x at 4K and 1.58x at 64K, batch
    64 on 8 A100. Ours at 64K: more than that, and growing with batch from about 1. At 4K the loss comes out only if the
    parts of a step follow one another (.94); with overlap ours gains."""
    target = arch.load("llama-3.1-8b")
    kind = target.layers[0][0]
    window = SlidingWindow(**{f.name: getattr(kind, f.name) for f in dataclasses.fields(kind)}, window=512)
    layers = tuple((window, ffn) for _, ffn in target.layers)
    own = Drafter("itself", dataclasses.replace(target, layers=layers), shared=frozenset(target.params.by_component))

    def gain(batch, context, overlap):
        return spec(
            "llama-3.1-8b", "a100-80g", 8, own, 0.8, 3, batch, context, tensor_parallel=8, overlap=overlap
        ).speedup

    for overlap in (True, False):
        grows = [gain(batch, 65536, overlap) for batch in (1, 8, 16, 32, 64)]
        assert grows == sorted(grows)
        assert grows[0] < 1.1 and grows[-1] > MEASURED.speedups["magicdec-64k"].speedups[0]
    assert MEASURED.speedups["magicdec-4k"].speedups[0] < 1
    assert gain(64, 4096, overlap=False) < 1 < gain(64, 4096, overlap=True)


# --- published: experts ----------------------------------------------------------------------------------------

#: Expert bytes of a pass over (length + 1) rows by those of a plain one, even and independent routing, by batch.
EXPERT_BYTES = {
    "deepseek-v3": {1: (1.97, 3.82, 5.55), 16: (1.60, 2.18, 2.39), 64: (1.13, 1.15, 1.15), 256: (1.00, 1.00, 1.00)},
    "deepseek-v4-pro": {1: (1.98, 3.91, 5.77), 16: (1.78, 2.85, 3.50), 64: (1.36, 1.55, 1.57), 256: (1.02, 1.02, 1.02)},
}
#: If expert bytes were all, at acceptance .85.
V4_PRO_GAIN = {1: (0.93, 0.82, 0.72), 16: (1.04, 1.12, 1.19), 64: (1.36, 2.06, 2.64), 256: (1.82, 3.13, 4.08)}
LENGTHS = (1, 3, 5)


def expert_bytes(node, batch, length):
    """What a pass reads of the experts on one chip: all that it reads but other weights and the cache."""
    model = node.model
    rest = sum(b for name, b in model.weight_bytes().items() if name not in ("experts", "embedding"))
    cache = batch * float(model.decode_read_bytes(10, 1, length + 1))
    return node.verify(batch, 10, length).memory_s * node.chip.memory_bandwidth_bytes_s - rest - cache


@pytest.mark.parametrize(
    ("model", "batch", "ratios"), [(model, *row) for model, rows in EXPERT_BYTES.items() for row in rows.items()]
)
def test_expert_bytes_of_a_pass_that_checks(model, batch, ratios):
    """[facts on MoE] To the digit, on one chip that holds all experts."""
    node = roofline.deployment(model, "h200", 1)
    plain = expert_bytes(node, batch, 0)
    assert [round(expert_bytes(node, batch, n) / plain, 2) for n in LENGTHS] == pytest.approx(ratios)


@pytest.mark.parametrize(("batch", "gains"), V4_PRO_GAIN.items())
def test_gain_if_expert_bytes_were_all(batch, gains):
    node = roofline.deployment("deepseek-v4-pro", "h200", 1)
    plain = expert_bytes(node, batch, 0)
    found = [theory.expected_tokens(0.85, n) * plain / expert_bytes(node, batch, n) for n in LENGTHS]
    assert [round(each, 2) for each in found] == pytest.approx(gains)


def test_the_valley_at_batch_1_and_the_hump_in_the_middle():
    """Mixtral on one chip, where nearly all weights are experts: the gain is least at batch 1, rises while all experts
    are read anyway, and falls again when compute binds."""
    batches = (1, 2, 4, 8, 16, 32, 64, 256, 1024)
    found = [spec("mixtral-8x7b", "h200", 1, "lookup", 0.85, 3, b, 128) for b in batches]
    gains = [each.speedup for each in found]
    top = int(np.argmax(gains))
    assert gains[: top + 1] == sorted(gains[: top + 1])
    assert gains[top:] == sorted(gains[top:], reverse=True)
    assert 0 < top < len(batches) - 1
    assert gains[0] < gains[top] / 1.5 and gains[-1] < 1
    assert (found[0].verify.bound, found[-1].verify.bound) == ("memory", "compute")


@pytest.mark.parametrize(("model", "chip", "chips"), [("deepseek-v4-pro", "b200", 8), ("deepseek-v3", "h200", 16)])
def test_the_valley_of_deepseeks_models_is_not_at_batch_1(model, chip, chips):
    """Does not come out as from expert bytes alone: attention and shared weights, whole on each chip, outweigh the few
    experts that a batch of one visits. The gain is least near batch 16, above 1; then come the hump and the fall."""
    batches = (1, 16, 256, 65536)
    first, valley, hump, last = (spec(model, chip, chips, "mtp", 0.85, 3, b, 2048).speedup for b in batches)
    assert 1 < valley < first < hump
    assert last < 1


# --- published: a dense model ----------------------------------------------------------------------------------

#: Ridge 295 tokens (H100, BF16), acceptance .8, a drafted token .05 plain steps; by length, at each batch.
DENSE = {1: (1.71, 1.71, 1.71, 1.01, 0.88), 3: (2.57, 2.57, 1.57, 0.82, 0.71), 5: (2.95, 2.38, 1.29, 0.68, 0.59)}


@pytest.mark.parametrize(("length", "gains"), DENSE.items())
def test_a_dense_model_on_h100(length, gains):
    """To the digit: Llama-3.1-70B, of which little is embedding, next to no cache; its ridge is 989.5 / 3.35 tokens."""
    node = roofline.deployment("llama-3.1-70b", "h100-sxm", 1)
    found = [
        theory.speedup(0.8, length, 0.05, node.verify(batch, 1, length).seconds / node.decode(batch, 1).seconds)
        for batch in (1, 64, 128, 256, 512)
    ]
    assert [round(each, 2) for each in found] == pytest.approx(gains)


def test_h20s_ridge_would_end_it_eight_times_earlier():
    """H20: FP8 148 against 4.0 TB/s, 37 tokens (its chip is not in the catalog): with that ridge the batch at which the
    gain ends is an eighth of H100's BF16."""
    h100 = roofline.deployment("llama-3.1-70b", "h100-sxm", 1)
    h20 = dataclasses.replace(h100, chip=dataclasses.replace(h100.chip, flops={"bf16": 37 * 3.35e12}))

    def bound_from(node):
        return next(batch for batch in range(1, 2000) if node.verify(batch, 1, 3).bound == "compute")

    assert bound_from(h100) / bound_from(h20) == pytest.approx(8, abs=0.6)
