"""One step of unlike sequences, its compiled cost, decode steps in closed form, measured times, and room for caches."""

import dataclasses
import math

import numpy as np
import pytest
from arch import kinds
from hypothesis import assume, given
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.roofline import DecodeLoad, Piece, StepCost, StepPoint, step_cost
from costlab.roofline.decoding import in_turn, lead
from costlab.speculative import plan
from costlab.speculative.theory import expected_tokens

#: Each kind of attention: full, MLA, DSA, CSA with HCA (with and without plain windows), sliding windows beside full.
KEYS = ["llama-3.1-70b", "deepseek-v3", "deepseek-v3.2", "deepseek-v4-pro", "deepseek-v4-flash", "mimo-v2-flash"]
#: Other kinds, as models of transformers' classes: recurrent states, chunks, blocks; and prefill of fewer layers.
SHAPES = {make.__name__: make() for make in (kinds.qwen3_next, kinds.nemotron, kinds.gemma4, kinds.minimax_m2)}
LLAMA_READ = 2 * (6_738_415_616 - 32_000 * 4096)  # weights but for the embedding's table, as in test_roofline
LLAMA_MULTIPLIED = 6_607_077_376
LLAMA_CACHE = 524_288  # bytes per token


def on(model="llama-2-7b", chip="h100-sxm", chips=1, **options):
    tensor_parallel = options.pop("tensor_parallel", 1)
    node = roofline.deployment(model, chip, chips, tensor_parallel=tensor_parallel)
    return dataclasses.replace(node, **options)


def loaded(cost, contexts):
    load = cost.load()
    for context in contexts:
        load.add(context)
    return load


def pieces(contexts, chunks, rows=1):
    return [*(Piece.decode(c, rows=rows) for c in contexts), *(Piece(*chunk) for chunk in chunks)]


def largest(lines, step=0):
    """Seconds of a step, the next one being 0, by the lines that it takes the largest of."""
    return max(base + slope * step for base, slope in lines)


def shaped(name, chip, chips, **options):
    node = on("llama-2-7b", chip, chips)
    return dataclasses.replace(node, model=SHAPES[name], **options)


# --- batch_step --------------------------------------------------------------------------------------------------


def test_a_step_of_unlike_sequences_by_hand():
    """Llama-2-7B on one H100: two decodes at 1,000 and 3,000, and 500 tokens of a prompt after 200."""
    step = on().batch_step([Piece.decode(1000), Piece.decode(3000), Piece(500, 200)])
    keys = 1000 + 3000 + sum(range(201, 701))
    matrices = 502 * (LLAMA_MULTIPLIED - 32_000 * 4096) + 3 * 32_000 * 4096  # the head once a sequence
    assert step.compute_s == pytest.approx((2 * matrices + 32 * 2 * 32 * 256 * keys) / 989.5e12)
    assert step.memory_s == pytest.approx((LLAMA_READ + (1000 + 3000 + 700) * LLAMA_CACHE) / 3.35e12)
    assert step.tokens == 502
    assert step.cache_bytes == (1000 + 3000 + 700) * LLAMA_CACHE


@given(
    model=st.sampled_from(KEYS),
    batch=st.integers(1, 40),
    context=st.integers(1, 100_000),
    length=st.integers(0, 3),
    new=st.integers(1, 5000),
    prefix=st.integers(0, 5000),
    prompts=st.integers(1, 9),
)
def test_even_batches_are_its_special_cases(model, batch, context, length, new, prefix, prompts):
    """Decode, verify, prefill and mixed steps are steps of pieces dealt out to the replicas in turn."""
    node = on(model, "h200", 8, tensor_parallel=2)

    def dealt(*pieces):
        ranks = [[] for _ in range(node.replicas)]
        for piece in pieces:
            for rank in range(node.replicas):
                mine = len(range(rank, piece.sequences, node.replicas))
                if mine:
                    ranks[rank].append(dataclasses.replace(piece, sequences=mine))
        return node.batch_step(*ranks)

    decode, prompt = Piece.decode(context, batch), Piece(new, prefix, sequences=prompts)
    for even, each in (
        (node.decode(batch, context), dealt(decode)),
        (node.verify(batch, context, length), dealt(Piece.decode(context, batch, length + 1))),
        (node.prefill(new, prefix, prompts), dealt(prompt)),
        (node.mixed(batch, context, new, prefix, prompts), dealt(decode, prompt)),
    ):
        assert each.terms == pytest.approx(even.terms)
        assert (each.tokens, each.cache_bytes) == pytest.approx((even.tokens, even.cache_bytes))


def test_the_slowest_replica_sets_the_time():
    """One replica with a long prompt makes three others wait; a dense model's step is that of the prompt alone."""
    node = on(chips=4)
    ranks = [[Piece.decode(500)], [Piece(4096)], [Piece.decode(9000, 3)], []]
    assert node.batch_step(*ranks).seconds == node.prefill(4096).seconds
    assert node.batch_step(*ranks).tokens == 4096 + 4
    assert node.batch_step(*ranks).cache_bytes == 27_000 * LLAMA_CACHE  # on another replica than the slowest


def test_experts_are_visited_by_the_tokens_of_all_replicas():
    """Mixtral on 4 chips: 3 x 5 decodes elsewhere cost a replica their experts' computing and reading, no cache."""
    node = on("mixtral-8x7b", chips=4)
    alone = node.batch_step([Piece.decode(1000)])
    among = node.batch_step([Piece.decode(1000)], *[[Piece.decode(1, 5)]] * 3)
    experts = 2 * 32 * 2 * 3 * 4096 * 14336  # FLOPs of a token: 2 of 8 in 32 layers
    assert among.compute_s - alone.compute_s == pytest.approx(15 * experts / 4 / 989.5e12)
    stored = node.model.weight_bytes()["experts"] / 8
    assert among.memory_s - alone.memory_s == pytest.approx((2 * (1 - 0.75**16) - 1) * stored / 3.35e12)


def test_uneven_experts_and_constants_by_hand():
    """At balance 0.8 the fullest chip computes and receives 1.25 times the mean; constants hide behind nothing."""
    even = on("mixtral-8x7b", chips=4)
    uneven = dataclasses.replace(even, balance=0.8, step_s=1e-3, layer_s=1e-5)
    experts_s = 64 * 2 * 32 * 2 * 3 * 4096 * 14336 / 4 / 989.5e12
    a, b = even.decode(64, 100), uneven.decode(64, 100)
    assert b.compute_s - a.compute_s == pytest.approx(experts_s / 4)
    assert b.link_s == pytest.approx(a.link_s * 1.25)
    assert b.memory_s == a.memory_s
    assert b.fixed_s == pytest.approx(1e-3 + 32e-5)
    assert b.seconds == pytest.approx(b.fixed_s + max(b.terms.values()))


# --- StepCost ----------------------------------------------------------------------------------------------------

CONTEXTS = st.one_of(st.integers(1, 300), st.integers(1, 13_000), st.integers(1, 500_000))
CHUNKS = st.lists(st.tuples(st.integers(1, 9000), st.one_of(st.just(0), CONTEXTS)), max_size=2)
RANKS = st.lists(st.tuples(st.lists(CONTEXTS, max_size=6), CHUNKS), min_size=1, max_size=4)


def half_an_entry_s(node, rows):
    """Seconds of half an entry of each compressed read, for one sequence: what a step may be off by."""
    seconds = 0.0
    for attention, layers in node.model.attention_counts.items():
        for read in attention.reads("decode"):
            if read.entries.stride > 1:
                flops_s = rows * read.flops_per_entry * node.flop_s[read.component]
                seconds += layers / 2 * (flops_s + read.bytes_per_entry * node.byte_s)
    return seconds


@given(
    model=st.sampled_from(KEYS),
    ranks=RANKS,
    rows=st.integers(1, 4),
    overlap=st.booleans(),
    balance=st.sampled_from([1.0, 0.8]),
)
def test_the_compiled_cost_is_the_step(model, ranks, rows, overlap, balance):
    """To 1e-12; of compressed entries, whose open block counts as half full, to half an entry a sequence and read."""
    assume(any(contexts or chunks for contexts, chunks in ranks))
    node = on(model, "h200", 32, tensor_parallel=8, overlap=overlap, balance=balance, step_s=1e-3, layer_s=1e-5)
    cost = step_cost(node, rows)
    exact = node.batch_step(*(pieces(contexts, chunks, rows) for contexts, chunks in ranks))
    seconds = cost.seconds_of([(loaded(cost, contexts), chunks) for contexts, chunks in ranks])
    slack = half_an_entry_s(node, rows) * max(len(contexts) for contexts, _ in ranks)
    assert seconds == pytest.approx(exact.seconds, rel=1e-12, abs=slack)


def test_no_slack_where_nothing_is_compressed():
    assert [key for key in KEYS if half_an_entry_s(on(key, "h200", 8), 1)] == ["deepseek-v4-pro", "deepseek-v4-flash"]


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v4-flash"])
def test_the_open_block_is_right_in_the_mean(model):
    """Over as many contexts as a block has tokens the smoothed reads sum to the true ones, also beyond top_k."""
    node = on(model, "h200", 32, overlap=False)
    cost = step_cost(node)
    for start in (1000, 20_000):
        block = range(start, start + 128)
        smooth = sum(cost.seconds(loaded(cost, [c])) for c in block)
        assert smooth == pytest.approx(sum(node.decode(1, c).seconds for c in block), rel=1e-12)


@pytest.mark.parametrize("model", KEYS)
def test_replicas_taken_as_one(model):
    """Equal sequences on all of 8 replicas: the cost of all in one load is that of each with its share."""
    node = on(model, "h200", 8, balance=0.9)
    cost = step_cost(node)
    each = [(loaded(cost, [700, 5000, 80_000]), [(512, 1024)])] * 8
    together = loaded(cost, [700, 5000, 80_000] * 8)
    assert cost.over(8).seconds(together, [(512, 1024)] * 8) == pytest.approx(cost.seconds_of(each), rel=1e-12)


@pytest.mark.parametrize("model", KEYS)
def test_times_longer_by_a_factor(model):
    node = on(model, "h200", 32, step_s=1e-3)
    if node.model.mtp_module:
        node = dataclasses.replace(node, drafter=arch.drafter("mtp", node.model))
        cost = roofline.speculative_cost(node, 1, 1.8)
    else:
        cost = step_cost(node)
    load, chunks = loaded(cost, [10, 3000, 50_000]), [(300, 700)]
    assert cost.scaled(1.2).seconds(load, chunks) == pytest.approx(1.2 * cost.seconds(load, chunks), rel=1e-12)
    longer, lines = (each.lines_of([(load, ())]) for each in (cost.scaled(1.2), cost))
    assert np.array(longer) == pytest.approx(1.2 * np.array(lines), rel=1e-12)
    table = roofline.published_cost("distserve-opt-13b-tp1")
    load = loaded(table, [9] * 99)
    assert table.scaled(0.8).seconds(load) == pytest.approx(0.8 * table.seconds(load))


def test_a_mean_load_is_that_of_equal_sequences():
    cost = step_cost(on("deepseek-v4-flash", "h200", 8))
    for context in (100, 1000, 10_000):
        assert cost.seconds(cost.mean_load(3, context)) == cost.seconds(loaded(cost, [context] * 3))
        between = cost.seconds(cost.mean_load(2.5, context))
        assert cost.seconds(cost.mean_load(2, context)) < between < cost.seconds(cost.mean_load(3, context))
    for wrong in ((-1, 5), (1, math.nan)):
        with pytest.raises(ValueError, match="should be a finite number of at least 0"):
            cost.mean_load(*wrong)


DRAFTERS = [
    ("deepseek-v3", "mtp"),
    ("mimo-v2-flash", "mtp"),
    ("deepseek-v4-pro", "mtp"),
    ("llama-3.1-70b", "eagle3"),
    ("llama-3.1-70b", "lookup"),
]


@pytest.mark.parametrize(("model", "drafter"), DRAFTERS)
@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_round_of_speculation_is_the_planners(model, drafter, length):
    """`speculative.plan` adds up drafts and verification; a step is the share of a round that yields one token."""
    node = on(model, "h200", 8, tensor_parallel=8)
    found = plan.speculate(node, arch.drafter(drafter, node.model), 0.8, length, batch=6, context=5000)
    tokens = expected_tokens(0.8, length)
    cost = roofline.speculative_cost(found.deployment, length, tokens)
    load = loaded(cost, [5000] * 6)
    # V4's open blocks count as half full: 5,000 is 8 tokens beyond a block of 128
    slack = half_an_entry_s(node, length + 1) * 6
    assert cost.seconds(load) * tokens == pytest.approx(found.round_s, rel=1e-12, abs=slack)
    assert largest(cost.lines_of([(load, ())])) == pytest.approx(cost.seconds(load), rel=1e-12)
    assert cost.even == (length == 0 and not found.deployment.model.key.startswith(("mimo", "deepseek-v4")))
    for each in (cost, step_cost(node, 3)):
        for chunks in ((), ((512, 0),)):
            load = loaded(each, [5000] * 6)
            assert each.leading(load, chunks, 1)[1] == pytest.approx(each.seconds(load, chunks), rel=1e-12)
    load = loaded(cost, [5000] * 6)
    prompt_s = cost.seconds(load, [(512, 0)]) - cost.seconds(load)
    verify = Piece.decode(5000, 6, length + 1)
    added = node.batch_step([verify, Piece(512)]).seconds - node.batch_step([verify]).seconds
    assert prompt_s == pytest.approx(added, rel=1e-9)  # a prompt is read once, not once a token


# --- running sums and lines --------------------------------------------------------------------------------------


@given(
    bends=st.lists(st.integers(1, 60), max_size=3, unique=True),
    moves=st.lists(st.tuples(st.sampled_from(["add", "remove", "advance"]), st.integers(1, 70)), max_size=40),
)
def test_running_sums_against_counting(bends, moves):
    """Sums, sequences below each bend and the steps to the next one, whatever came and went."""
    load, contexts = DecodeLoad(bends), []
    for move, number in moves:
        if move == "add":
            contexts.append(number)
            load.add(number)
        elif move == "remove" and contexts:
            load.remove(contexts.pop(number % len(contexts)))
        elif move == "advance":
            contexts = [c + number for c in contexts]
            load.advance(number)
        assert (load.sequences, load.context_tokens) == (len(contexts), sum(contexts))
        for bend in load.bends:
            below = [c for c in contexts if c < bend.limit]
            assert (bend.sequences, bend.tokens) == (len(below), sum(below))
        left = [limit - c for limit in bends for c in contexts if c < limit]
        assert load.steps_to_bend == min(left, default=math.inf)


@given(
    model=st.sampled_from(KEYS),
    contexts=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    ranks=st.integers(1, 3),
    steps=st.integers(1, 300),
    rows=st.integers(1, 3),
)
def test_lines_are_the_steps_up_to_the_next_bend(model, contexts, ranks, steps, rows):
    node = on(model, "h200", 8, step_s=1e-4)
    cost = step_cost(node, rows)
    loads = [loaded(cost, contexts[rank:] or [7]) for rank in range(ranks)]
    steps = int(min(steps, *(load.steps_to_bend for load in loads)))
    lines = cost.lines_of([(load, ()) for load in loads])
    for step in range(steps):
        taken = cost.seconds_of([(load, ()) for load in loads])
        assert largest(lines, step) == pytest.approx(taken, rel=1e-11)
        for load in loads:
            load.advance()


@given(
    model=st.sampled_from(["llama-3.1-70b", "deepseek-v3", "deepseek-v3.2", "mimo-v2-flash", None]),
    contexts=st.lists(st.integers(1, 5000), max_size=5),
    pieces=st.lists(st.tuples(st.integers(1, 600), st.integers(0, 3000)), min_size=1, max_size=2),
    steps=st.integers(1, 30),
    overlap=st.booleans(),
)
def test_lines_go_on_with_the_next_pieces_of_prompts(model, contexts, pieces, steps, overlap):
    """Where no read of a prompt is capped or strided; elsewhere for the first step. None: a table."""
    cost = StepCost.linear(0.01, token_s=1e-5, pair_s=1e-9, prefix_s=1e-7, prompt_s=1e-3, context_s=1e-8)
    if model:
        cost = step_cost(on(model, "h200", 8, overlap=overlap, step_s=1e-4))
    assert cost.even == (model not in ("deepseek-v3.2", "mimo-v2-flash"))
    load = loaded(cost, contexts)
    steps = int(min(steps, load.steps_to_bend)) if cost.even else 1
    lines = cost.lines_of([(load, pieces)])
    found = [lead(lines, steps), cost.leading(load, pieces, steps)]
    took = []
    for step in range(steps):
        took.append(cost.seconds(load, [(new, prefix + step * new) for new, prefix in pieces]))
        assert largest(lines, step) == pytest.approx(took[-1], rel=1e-11)
        load.advance()
    for many, first, rise in found:
        assert took[:many] == pytest.approx([first + rise * step for step in range(many)], rel=1e-11)
    (many, first, rise), _ = found
    assert many == steps or first + rise * many < took[many]  # another line has taken over


LINE = st.tuples(st.floats(0.001, 1), st.one_of(st.just(0.0), st.floats(1e-6, 0.05)))
PASSES = st.lists(st.lists(LINE, min_size=1, max_size=4), min_size=1, max_size=3)


@given(passes=PASSES, steps=st.integers(1, 200))
def test_lines_in_turn_against_adding_up(passes, steps):
    """Also where one term overtakes another on the way, and where passes follow one another in a step."""
    lines = in_turn(passes, 0.5)
    took = [sum(largest(each, step) for each in passes) / 2 for step in range(steps)]
    assert [largest(lines, step) for step in range(steps)] == pytest.approx(took, rel=1e-11)
    many, first, rise = lead(lines, steps)
    assert took[:many] == pytest.approx([first + rise * step for step in range(many)], rel=1e-11)
    assert many == steps or first + rise * many < largest(lines, many)


# --- measured ----------------------------------------------------------------------------------------------------


def test_fixed_times():
    cost = StepCost.fixed(0.2, 0.03)
    load = cost.load()
    assert cost.seconds(load, [(100, 0), (7, 3)]) == 0.2
    load.add(10)
    assert cost.seconds(load) == 0.03
    assert cost.seconds(load, [(100, 0)]) == pytest.approx(0.23)
    assert cost.leading(load, (), 4) == (4, 0.03, 0.0)


def test_a_linear_table_by_hand():
    cost = StepCost.linear(1.0, token_s=0.1, pair_s=0.001, prefix_s=0.01, prompt_s=2.0, sequence_s=0.5, context_s=0.02)
    load = loaded(cost, [100, 50])
    assert cost.seconds(load) == pytest.approx(1 + 2 * 0.5 + 150 * 0.02)
    pairs = 21 + 22 + 23
    assert cost.seconds(load, [(3, 20)]) == pytest.approx(5 + 2 + 0.3 + 20 * 0.01 + pairs * 0.001)


@pytest.mark.parametrize("key", list(catalog.tables().step_times))
def test_published_fits_are_the_sources_formulas(key):
    """As `get_prefill_time` and `get_decode_time` of DistServe's simulator: a + b sum + c sum of squares, in ms."""
    fit, cost = catalog.tables().step_times[key], roofline.published_cost(key)
    load, prompts = cost.load(), [512, 77]
    a, b, c = fit.prefill.constant_ms, fit.prefill.token_ms, fit.prefill.square_ms
    assert cost.seconds(load, [(n, 0) for n in prompts]) * 1e3 == pytest.approx(a + b * 589 + c * (512**2 + 77**2))
    for many in (1, 94, 95, 300):
        load = loaded(cost, [700] * many)
        part = fit.decode if many < 95 else fit.decode_large
        took = part.constant_ms + part.context_ms * 700 * many + part.sequence_ms * many
        assert cost.seconds(load) * 1e3 == pytest.approx(took)
        assert cost.leading(load, (), 1)[1] == cost.seconds(load)


def test_published_fits_by_hand():
    """A prompt of 512 on OPT-13B, TP 1: 72.1 ms by DistServe's fit, 96.1 by vLLM's in the same file."""
    one = [roofline.published_cost(f"{engine}-opt-13b-tp1") for engine in ("distserve", "vllm")]
    assert [round(cost.seconds(cost.load(), [(512, 0)]) * 1e3, 1) for cost in one] == [72.1, 96.1]
    whole, pieces = one[0].seconds(one[0].load(), [(512, 0)]), [(200, 0), (312, 200)]
    constant = catalog.tables().step_times["distserve-opt-13b-tp1"].prefill.constant_ms / 1e3
    assert sum(one[0].seconds(one[0].load(), [piece]) for piece in pieces) == pytest.approx(whole + constant)
    more = roofline.published_cost("distserve-opt-13b-tp1", dispatch=True)
    assert more.seconds(more.load(), [(512, 0)]) - whole == pytest.approx((2 + 512e-4 + 1) / 1e3)
    assert more.seconds(loaded(more, [700])) - one[0].seconds(loaded(more, [700])) == pytest.approx((2 + 700e-4) / 1e3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"large_from": 0}, "large_from = 0 should be at least 1"),
        ({"tensor_parallel": -1}, "tensor_parallel = -1 should be at least 1"),
        ({"dispatch_ms": math.nan}, "dispatch_ms = nan should be at least 0 and finite"),
    ],
)
def test_bad_published_fits(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(catalog.tables().step_times["distserve-opt-13b-tp1"], **change)
    with pytest.raises(ValueError, match="context_ms = -1 should be at least 0 and finite"):
        catalog.DecodeFit(1, -1, 1)
    with pytest.raises(ValueError, match="square_ms = inf should be at least 0 and finite"):
        catalog.PrefillFit(1, 1, math.inf)


def test_points_give_their_own_coefficients_back():
    """Steps of either phase alone, then mixed ones among them, with one constant for all."""
    rng = np.random.default_rng(0)
    decoding = {"sequence_s": 5e-5, "context_s": 6e-7}
    reading = {"token_s": 1e-4, "pair_s": 1e-8}
    apart = StepCost.linear(prefill_step_s=0.02, decode_step_s=0.01, **decoding, **reading)
    mixed = StepCost.linear(0.015, **decoding, **reading)
    for truth, both in ((apart, False), (mixed, True)):
        points = []
        for kind in range(30):
            together = both and kind % 3 == 0
            contexts = rng.integers(1, 4000, rng.integers(1, 50)).tolist() if together or kind % 2 else []
            chunks = ((int(rng.integers(1, 4000)), 0),) if together or not kind % 2 else ()
            seconds = truth.seconds(loaded(truth, contexts), chunks)
            points.append(StepPoint(seconds, len(contexts), sum(contexts), chunks))
        fit = roofline.fit_steps(points)
        assert fit.worst_error < 1e-9
        for each in ("step_s", "prefill_step_s", "decode_step_s", "token_s", "sequence_s", "context_s"):
            assert getattr(fit.cost.compute, each) == pytest.approx(getattr(truth.compute, each), rel=1e-6)
        assert fit.cost.compute.pairs[0][0] == pytest.approx(1e-8, rel=1e-6)


def test_a_fit_states_its_residual():
    """Noise of up to 10%: least squares of relative errors, as NumPy solves the same, and how far each point lies."""
    rng = np.random.default_rng(1)
    batches = np.array([1, 2, 4, 8, 16, 32, 64, 128])
    contexts = batches * rng.integers(100, 4000, 8)
    took = (0.01 + 1e-4 * batches + 3e-7 * contexts) * (1 + rng.uniform(-0.1, 0.1, 8))
    measured = zip(took.tolist(), batches.tolist(), contexts.tolist(), strict=True)
    fit = roofline.fit_steps([StepPoint(*each) for each in measured])
    design = np.stack([np.ones(8), batches, contexts], axis=1) / took[:, None]
    best = np.linalg.lstsq(design, np.ones(8), rcond=None)[0]
    assert best.min() > 0
    found = fit.cost.compute
    assert [found.decode_step_s, found.sequence_s, found.context_s] == pytest.approx(best)
    errors = design @ best - 1
    assert fit.points == 8
    assert fit.rms_error == pytest.approx(math.sqrt((errors**2).mean()))
    assert fit.worst_error == pytest.approx(np.abs(errors).max())


@given(seed=st.integers(0, 10_000))
def test_no_coefficient_is_negative_and_none_could_do_better(seed):
    """Random times: where a coefficient is 0 a larger one would fit worse, elsewhere neither way is better."""
    rng = np.random.default_rng(seed)
    rows = [(int(n), int(n * rng.integers(1, 9)), int(rng.integers(1, 50))) for n in rng.integers(1, 9, 12)]
    points = [StepPoint(float(rng.uniform(0.1, 1)), n, context, ((new, 0),)) for n, context, new in rows]
    try:
        found = roofline.fit_steps(points).cost.compute
    except ValueError as error:
        assert "apart" in str(error)
        assume(False)  # by chance they do not tell two coefficients apart
    pair_s = sum(each_s for each_s, *_ in found.pairs)
    x = np.array([found.step_s, found.token_s, pair_s, found.sequence_s, found.context_s])
    design = np.array([[1.0, new, new * (new + 1) / 2, n, context] for n, context, new in rows])
    design /= [[point.seconds] for point in points]
    pull = design.T @ (1 - design @ x) / np.linalg.norm(design, axis=0)
    assert (x >= 0).all()
    assert pull[x > 0] == pytest.approx(0, abs=1e-8)
    assert (pull[x == 0] <= 1e-8).all()


# --- one published rate from another -----------------------------------------------------------------------------

#: (rate, residual) at the efficiency of DeepSeek's published profile, the phase alone with experts chosen evenly.
RESIDUALS = {
    "sglang-prefill-4k-balanced": 0.057,  # experts chosen evenly there too
    "sglang-prefill-4k": 0.247,  # experts as they are chosen
    "sglang-prefill-2k": 0.289,
    "sglang-prefill-1k": 0.298,
    "deepseek-day-prefill": 0.947,  # by day and night, arrivals as they come
    "sglang-decode-2000": -0.120,
    "sglang-decode-4000": 0.129,
    "kimi-k2-decode": -0.234,
}


@pytest.mark.parametrize(("key", "residual"), RESIDUALS.items())
def test_one_profile_predicts_others_that_far_off(key, residual):
    """Out of sample: nothing is fitted to the rates that are predicted. Alike conditions: within 6% and 13%."""
    rate = catalog.tables().serving.nodes[key]
    found = roofline.predict_rate(key, f"deepseek-profile-{rate.phase}")
    assert found.error == pytest.approx(residual, abs=0.001)
    assert found.tokens_s == pytest.approx(rate.tokens_s * (1 + residual), rel=0.001)


def test_production_from_the_profile():
    """The published day: its batch is what rate and speed imply, 88 sequences a chip; 25% slower than predicted."""
    batch = round(roofline.check_day().decode_batch_per_chip)
    found = roofline.predict_rate("deepseek-day-decode", "deepseek-profile-decode", batch)
    assert batch == 88
    assert found.error == pytest.approx(0.247, abs=0.001)
    assert found.fitted_on.tokens_s / found.rate.tokens_s == pytest.approx(1 / 0.796, rel=0.001)


def test_a_rate_predicts_itself():
    """The share is the roofline's time over the measured one: 23.9 of 55.1 ms a step, 0.78 of 2.09 s a prefill."""
    decode = roofline.predict_rate("deepseek-profile-decode", "deepseek-profile-decode")
    assert decode.error == pytest.approx(0)
    step = on("deepseek-v3", "h800", 128).decode(128 * 128, 4096)
    assert decode.share == pytest.approx(step.seconds / 55.06e-3, rel=1e-3)
    prefill = roofline.predict_rate("deepseek-profile-prefill", "deepseek-profile-prefill")
    step = on("deepseek-v3", "h800", 32).prefill(4096, batch=128)
    assert prefill.share == pytest.approx(step.compute_s / 2.09, rel=1e-3)


# --- room for caches ---------------------------------------------------------------------------------------------


def test_room_by_hand():
    """Llama-2-7B on one H100: 72 GB usable less 13.5 GB of weights, at 524,288 bytes a token."""
    room = roofline.kv_room(on())
    tokens = (0.9 * 80e9 - 2 * 6_738_415_616) / LLAMA_CACHE
    assert room.tokens() == math.floor(tokens)
    assert room.blocks(16) == math.floor(tokens / 16)
    assert room.sequence_bytes == 0


@given(
    model=st.sampled_from([*KEYS, "qwen3-235b-a22b"]),
    context=st.integers(1, 200_000),
    width=st.sampled_from([1, 2, 4]),
    mtp=st.booleans(),
)
def test_room_is_the_deployments_own(model, context, width, mtp):
    """A sequence keeps what arch says, exactly at whole blocks with full windows and never more; likewise what fits."""
    node = on(model, "b200", 16, tensor_parallel=width)
    if mtp and node.model.mtp_module:
        node = dataclasses.replace(node, drafter=arch.drafter("mtp", node.model))
    room = roofline.kv_room(node)
    whole = -(-context // 256) * 256
    assert room.kept_bytes(whole) == pytest.approx(node.cache_bytes_per_chip(whole), rel=1e-12)
    assert node.cache_bytes_per_chip(context) <= room.kept_bytes(context) * (1 + 1e-12)
    assert room.sequences(whole) * node.replicas == node.max_batch(whole)
    fits = room.sequences(context)
    assert room.tokens(fits) >= fits * context or not fits
    assert room.tokens(fits + 1) < (fits + 1) * context


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_bad_times(seconds):
    for make in (lambda: StepCost.fixed(seconds, 0.1), lambda: StepCost.linear(context_s=seconds)):
        with pytest.raises(ValueError, match=r"_s = (-1.0|nan|inf) should be a finite number of at least 0"):
            make()
    for name in ("step_s", "layer_s"):
        with pytest.raises(ValueError, match=f"{name} should be a finite number of at least 0"):
            on(**{name: seconds})
    with pytest.raises(ValueError, match="of a measured step should be above 0 and finite"):
        StepPoint(seconds, 1, 1)


@pytest.mark.parametrize("balance", [0, -0.5, 1.2, math.nan])
def test_bad_balance(balance):
    with pytest.raises(ValueError, match="balance should be above 0 and at most 1"):
        on(balance=balance)


def test_bad_steps():
    for ranks in ([], [[]], [[Piece(1)], [Piece(1)]]):
        with pytest.raises(ValueError, match=rf"{len(ranks)} ranks with \d pieces should be 1 to 1"):
            on().batch_step(*ranks)
    for piece in (Piece(0), Piece(1, -1), Piece(1, sequences=0), Piece(math.nan), Piece(0, 5, True)):
        with pytest.raises(ValueError, match=r"should be .*whole number"):
            on().batch_step([piece])
    for wrong in (lambda: Piece.decode(0), lambda: Piece.decode(9, rows=0), lambda: step_cost(on(), 0)):
        with pytest.raises(ValueError, match="should be a whole number from 1"):
            wrong()
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"factor = .* should be above 0 and finite"):
            step_cost(on()).scaled(factor)
    with pytest.raises(ValueError, match="replicas should be a whole number"):
        step_cost(on()).over(0)


def test_bad_rounds():
    node = on("deepseek-v3", "h200", 8)
    with pytest.raises(ValueError, match="no drafter"):
        roofline.speculative_cost(node, 1, 1.5)
    node = dataclasses.replace(node, drafter=arch.drafter("mtp", node.model))
    for tokens in (0.5, 2.1, math.nan):
        with pytest.raises(ValueError, match=r"round_tokens = \S+ should be from 1 to length \+ 1 = 2"):
            roofline.speculative_cost(node, 1, tokens)
    with pytest.raises(ValueError, match=r"length \+ 1"):
        roofline.speculative_cost(node, -1, 1.0)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({}, "should decode sequences"),
        ({"sequences": 3, "context_tokens": 2}, "at least 1 token each"),
        ({"sequences": -1}, "should decode sequences"),
        ({"chunks": ((0, 5),)}, "at least 1 new token"),
        ({"chunks": ((5, -1),)}, "at least 0 before them"),
    ],
)
def test_bad_points(point, words):
    with pytest.raises(ValueError, match=words):
        StepPoint(0.1, **point)


def test_points_that_say_too_little():
    with pytest.raises(ValueError, match="0 points are too few"):
        roofline.fit_steps([])
    with pytest.raises(ValueError, match="1 points are too few for 3 coefficients: decode_step_s, sequence_s"):
        roofline.fit_steps([StepPoint(0.1, 1, 100)])
    with pytest.raises(ValueError, match="3 points do not tell decode_step_s, sequence_s, context_s apart"):
        roofline.fit_steps([StepPoint(0.1, n, 100 * n) for n in (1, 2, 3)])


def test_bad_predictions():
    with pytest.raises(ValueError, match="'sglang-decode-2000' is of decode, 'sglang-prefill-1k' of prefill"):
        roofline.predict_rate("sglang-decode-2000", "sglang-prefill-1k")
    with pytest.raises(ValueError, match="unknown rate of a node 'sglang'"):
        roofline.predict_rate("sglang", "sglang-prefill-1k")
    with pytest.raises(ValueError, match="names no batch_per_chip"):
        roofline.predict_rate("deepseek-day-decode", "deepseek-profile-decode")
    with pytest.raises(ValueError, match="unknown fit of step times 'opt'"):
        roofline.published_cost("opt")


def test_no_room():
    with pytest.raises(ValueError, match="DeepSeek-V4-Pro does not fit on 8"):
        roofline.kv_room(on("deepseek-v4-pro", "h800", 8))
    room = roofline.kv_room(on())
    with pytest.raises(ValueError, match="sequences = -1"):
        room.tokens(-1)
    with pytest.raises(ValueError, match="block_tokens should be"):
        room.blocks(0)
    assert room.sequences(10**9) == 0
