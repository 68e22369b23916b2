"""Claims about serving, settled: prefill and decode apart, what the split costs and gains."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from costlab import catalog, roofline
from costlab.arrays import Floats
from costlab.catalog import workloads
from costlab.checks import pick
from costlab.claims import articles
from costlab.claims.ledger import Settled, Values, settles
from costlab.claims.parts import literal, part
from costlab.roofline import Step
from costlab.traces import arrivals

DENSE = "llama-3.1-70b"  # a model without experts, for the phases as such
SPLITS = (2, 1), (1, 1)  # chips that prefill to chips that decode

_RATES = 'catalog.tables().serving.rates["distserve-13b"]'


# --- prefill and decode apart ----------------------------------------------------------------------------------


@settles("pd-2-3x", "serving#sec-serving-claims")
def _pd_2_3x(given: Values) -> Settled:
    said = given["low"], given["high"]
    splits = [f"{_RATES}.separated_requests_s({one}, {other}) / {_RATES}.both_requests_s" for one, other in SPLITS]
    parts = (
        part("requests in time of each chip, apart over together, with more chips that prefill (DistServe)", "times",
             said, splits[0], 0.02, number="low,high"),
        part("cost of a request in time, apart over together, with more chips that prefill (DistServe)", "share",
             given["cost"], f"1 / ({splits[0]})", 0.05, number="cost"),
        part("requests in time of each chip, apart over together, with as many of each (DistServe)", "times", said,
             splits[1], 0.02, beyond=True, number="low,high"),
        part("middle of all published gains at equal chips", "times", said,
             "claims.serving.middle_gain()", 0.02, beyond=True, number="low,high"),
        part("tokens per second, apart over together (Mooncake's test)", "times", said,
             'catalog.tables().serving.gains["mooncake-a10-2048"].low', 0.02, beyond=True, number="low,high"),
    )  # fmt: skip
    factors = list(separations())
    inside = [said[0] <= factor <= said[1] for factor in factors]
    split = " and ".join(
        f"{each.computed:.2f} with {one} to {other}"
        for each, (one, other) in zip((parts[0], parts[2]), SPLITS, strict=True)
    )
    why = (
        f"At equal chips {sum(inside)} of {len(factors)} published factors, both ends of each range, are from "
        f"{said[0]:g} to {said[1]:g}; all are from {min(factors):.2f} to {max(factors):.2f}, and "
        f"{sum(factor <= 1 for factor in factors)} are no gain. The gain is in requests that meet objectives for both "
        "latencies, and it hangs on the chips that prefill to those that decode: DistServe's rates of either phase "
        f"alone give {split}. Tokens per second hardly change (Mooncake's test: {parts[4].computed:.2f}). "
        f"{_half_counted()}."
    )
    assumption = "only requests that meet both latencies count, and the chips are split as DistServe's example needs it"
    return Settled(parts, why, assumption, sought=True)


def separations() -> Iterator[float]:
    """Yield what separation gained for each chip, by every source of the catalog."""
    serving = catalog.tables().serving
    for gain in serving.gains.values():
        if gain.lever == "separation" and gain.equal_chips:
            yield from gain.factors
    yield from (cluster.gain for cluster in serving.clusters.values() if cluster.gain is not None)


def middle_gain() -> float:
    """Return the median of what separation gained for each chip, by every source of the catalog."""
    return statistics.median(separations())


def _half_counted() -> str:
    found = [roofline.check_output_price(key) for key in catalog.tables().serving.output_prices]
    listed = " and ".join(f"${check.price.usd_per_million:.2f}" for check in found)
    whole = " and ".join(f"${check.balanced_usd:.2f}" for check in found)
    times = [check.imbalance for check in found]
    return (
        f"Published costs of {listed} per million output tokens count decode nodes alone ("
        f"{' and '.join(f'${check.decode_only_usd:.3f}' for check in found)}), which are {min(times):.0f} to "
        f"{max(times):.0f} times too fast for the prefill nodes beside them; with both in proportion, a million "
        f"output tokens and the prompts before them come to {whole}"
    )


@settles("pd-4096-rule", "serving#sec-serving-rule")
def _pd_4096_rule(given: Values) -> Settled:
    sent = [(lengths.name, *lengths.above(given["tokens"])) for lengths in traffic()]
    long = ("mooncake-conversation", "deepseek-r1")
    parts = [
        part(f"share of the prompts' tokens that is read apart ({name})", "share", given["most"],
             f'claims.serving.share_above("{name}", {literal(given["tokens"])})', 0.0, relation="at least",
             beyond=name not in long, number="most")
        for name, *_ in sorted(sent, key=lambda row: row[0] not in long)
    ]  # fmt: skip
    least, most = (call(sent, key=lambda each: each[-1]) for call in (min, max))
    listed = " up to ".join(
        f"{prompts:.1%} of the prompts and {tokens:.0%} of their tokens ({name})"
        for name, prompts, tokens in (least, most)
    )
    apart = [tokens > given["most"] for *_, tokens in sent]
    why = (
        f"By the lengths of public traces the rule sends to the prefill nodes from {listed}. All else is read on nodes "
        f"that decode, which separation is to avoid; in {sum(apart)} of {len(sent)} kinds of traffic more than "
        f"{given['most']:.0%} of the tokens are read apart. A prompt of exactly {given['tokens']:,.0f} counts as "
        "short, and a longer one as long even if all of it is cached, where engines that have such a rule count what "
        "is not cached."
    )
    assumption = "most tokens belong to long prompts, as in long conversations and in reasoning"
    return Settled(parts, why, assumption, sought=True)


def share_above(name: str, tokens: float) -> float:
    """Return which share of a public trace's prompt tokens belong to prompts longer than so many, to the bin.

    Raises:
        ValueError: an unknown trace.
    """
    return pick({lengths.name: lengths for lengths in traffic()}, name, "kind of traffic").above(tokens)[1]


@dataclass(frozen=True)
class PromptLengths:
    """The prompts of a kind of traffic by bins of length, by the counts of public traces."""

    name: str  # its key in the catalog
    upto: Floats  # upper ends of the bins, tokens
    means: Floats  # mean length in each, tokens
    shares: Floats  # share of the prompts in each
    requests_s: float | None = None  # at which they came, where that is known

    def above(self, tokens: float) -> tuple[float, float]:
        """Return which share of the prompts is longer, and which share of all tokens they have, to the bin."""
        longer = self.means > tokens
        return float(self.shares[longer].sum()), float((self.shares * self.means)[longer].sum() / self.mean)

    @property
    def mean(self) -> float:
        """Mean length of a prompt."""
        return float(self.shares @ self.means)

    def longest(self, prompts: int) -> float:
        """Return the mean length of the longest of so many prompts, to the bin."""
        return float(np.diff(self.shares.cumsum() ** prompts, prepend=0.0) @ self.means)

    def rounded_up(self) -> float:
        """Return the mean length of a prompt that is filled up to the next power of 2."""
        return float(self.shares @ 2 ** np.ceil(np.log2(self.upto)))


def traffic() -> Iterator[PromptLengths]:
    """Yield the prompts' lengths of every kind of traffic in the catalog."""
    stored = workloads.workloads()
    for key in (*stored.workloads, *stored.mixtures):
        table, trace = arrivals.lengths_of(key), stored.workloads.get(key)
        upto, means = np.array(table.inputs.upto, dtype=np.float64), np.array(table.inputs.means)
        prompts, rate = table.counts.sum(1), trace.requests / trace.span_s if trace else None
        yield PromptLengths(key, upto, means, prompts / prompts.sum(), rate)


@settles("pd-scheduler-code", "claims#article-scheduler")
def _pd_scheduler_code(given: Values) -> Settled:
    stated = catalog.tables().claims["pd-scheduler-code"].numbers
    prefill, decode, threshold, channel = (
        int(given[name]) for name in ("prefill_nodes", "decode_nodes", "threshold", "channel")
    )
    asked, short, long = int(stated["requests"]), int(given["short"]), int(given["long"])
    made = f"claims.articles.ArticleScheduler({prefill}, {decode}, {threshold}, {channel})"
    run = f"claims.articles.run_scheduler({made}, {asked}, {short}, {long})"
    parts = (
        part(f"requests that get their nodes, of {asked:,}", "requests", given["requests"], f"{run}.scheduled", 0.0,
             number="requests"),
        part("share of the prompts' tokens read on nodes that decode", "share", given["beside"], f"{run}.beside", 0.0,
             relation="at most", number="beside"),
        part("names that the listing uses and nothing declares", "names", given["undefined"], f"len({run}.undefined)",
             0.0, relation="at most", number="undefined"),
    )  # fmt: skip
    found = articles.run_scheduler(articles.ArticleScheduler(prefill, decode, threshold, channel), asked, short, long)
    missing = f"Nothing declares or imports {', '.join(found.undefined)}, so it does not compile. " if (
        found.undefined) else ""  # fmt: skip
    why = (
        f"{missing}Of {asked:,} prompts, by turns {short:,} and {long:,} tokens long, {found.scheduled:,} are "
        f"scheduled; {found.beside:.0%} of their tokens are read on nodes that decode, and {found.moved_bytes} bytes "
        f"of keys and values are moved. Nothing takes transfers out of its channel of {given['channel']:,.0f}, so the "
        f"next long prompt waits for ever{_until_full(given)}. No node's memory, load or failure is looked at, and "
        "both pools are the same chip."
    )
    return Settled(parts, why)


def _until_full(given: Values) -> str:
    """Say how long a channel lasts that nobody empties, at the rates of public traces."""
    known = [(each.above(given["threshold"])[0], each.requests_s) for each in traffic() if each.requests_s]
    lasts = [given["channel"] / share / rate for share, rate in known if share and rate]
    return f", at the rates of public traces after {_clock(min(lasts))} to {_clock(max(lasts))}" if lasts else ""


def _clock(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@settles("pd-phases", "serving#sec-serving-step")
def _pd_phases(given: Values) -> Settled:
    day, checked, nodes = catalog.tables().days["deepseek-day"], roofline.check_day(), catalog.tables().serving.nodes
    shape, over = f"{literal(given['input'])}, {literal(given['batch'])}", given["over"]
    tokens = 'catalog.tables().serving.nodes["deepseek-profile-prefill"].tokens_per_chip'
    batch = 'catalog.tables().serving.nodes["deepseek-profile-decode"].batch_per_chip'
    prompt = 'catalog.tables().serving.nodes["deepseek-profile-prefill"].input_tokens'
    chips = 'catalog.tables().days["deepseek-day"]'
    rows = (
        ("prefill of a dense model: time of arithmetic over the slowest other", f"dense_phases({shape})[0]", False),
        ("decode of a dense model: time of memory over the slowest other", f"dense_phases({shape})[1]", False),
        ("tokens of a pass on DeepSeek's chips, prefill over decode", f"{tokens} / {batch}", False),
        ("prefill on DeepSeek's day: time of arithmetic over the slowest other", "day_phases()[0]", True),
        ("decode on DeepSeek's day: time of memory over the slowest other", "day_phases()[1]", True),
        ("requests of a pass on DeepSeek's chips, prefill over decode", f"{tokens} / {prompt} / {batch}", True),
        ("chips over which DeepSeek spreads a phase, prefill over decode",
         f"{chips}.prefill_chips / {chips}.decode_chips", True),
    )  # fmt: skip
    parts = [
        part(name, "times", over, formula if formula.startswith("catalog") else f"claims.serving.{formula}", 0.0,
             relation="at least", beyond=beyond, number="over")
        for name, formula, beyond in rows
    ]  # fmt: skip
    dense, spread = _dense_steps(int(given["input"]), int(given["batch"])), _day_steps()
    profile = nodes["deepseek-profile-prefill"], nodes["deepseek-profile-decode"]
    prompts = (profile[0].tokens_per_chip or 0) / (profile[0].input_tokens or 1)
    why = (
        f"{catalog.model(DENSE).name} on {day.chips_per_node} {catalog.chip('a100-80g').name}: prefill of "
        f"{given['input']:,.0f} tokens {dense[0].bound}-bound, decode of {given['batch']:,.0f} sequences "
        f"{dense[1].bound}-bound. {catalog.model(day.model).name} as DeepSeek's day was served: prefill "
        f"{spread[0].bound}-bound on {day.prefill_chips} chips, decode {checked.decode_ideal.bound}-bound on "
        f"{day.decode_chips}, since experts that are spread over nodes make the network a limit too. Counted in "
        f"tokens, a pass of prefill is the larger ({profile[0].tokens_per_chip or 0:,} on a chip of DeepSeek's "
        f"profile, {profile[1].batch_per_chip or 0} in decode); counted in requests it is the smaller ({prompts:.0f} "
        f"prompts, {profile[1].batch_per_chip or 0} sequences)."
    )
    return Settled(parts, why, "the model lies on one node, and a batch is counted in tokens")


def dense_phases(tokens: int, batch: int) -> tuple[float, float]:
    """Return by how much arithmetic limits the prefill of a dense model on one node, and memory its decode.

    Args:
        tokens: of a prompt, and of context in decode.
        batch: sequences that decode at once.

    Returns:
        the time of arithmetic over the longest other time in prefill, that of memory over the longest other in decode.
    """
    return _limits(*_dense_steps(tokens, batch))


def day_phases() -> tuple[float, float]:
    """Return the same for DeepSeek-V3 as DeepSeek's published day was served, see `dense_phases`."""
    return _limits(*_day_steps())


def _limits(prefill: Step, decode: Step) -> tuple[float, float]:
    return (
        prefill.compute_s / max(prefill.memory_s, prefill.link_s),
        decode.memory_s / max(decode.compute_s, decode.link_s),
    )


def _dense_steps(tokens: int, batch: int) -> tuple[Step, Step]:
    chips = catalog.tables().days["deepseek-day"].chips_per_node
    alone = roofline.deployment(DENSE, "a100-80g", chips, tensor_parallel=chips)
    return alone.prefill(tokens), alone.decode(batch, tokens)


def _day_steps() -> tuple[Step, Step]:
    day = catalog.tables().days["deepseek-day"]
    spread = roofline.deployment(day.model, day.chip, day.prefill_chips)
    return spread.prefill(day.mean_context, batch=spread.replicas), roofline.check_day().decode_ideal


@settles("pd-first", "serving#sec-serving-pools")
def _pd_first(given: Values) -> Settled:
    others = {"Splitwise": given["splitwise"], "DistServe": given["distserve"]}
    numbers = ", ".join(literal(number) for number in others.values())
    found = part("months by which DeepSeek's report came before all others", "months", given["ahead"],
                 f"claims.serving.months_ahead({literal(given['deepseek'])}, [{numbers}])", 0.0, relation="at least",
                 number="ahead")  # fmt: skip
    listed = ", ".join(f"{name} in {_month(number)}" for name, number in others.items())
    months = found.computed or 0.0
    order = f"Others published it up to {-months:.0f} months before" if months < 0 else "Nobody published it before"
    why = (
        f"On arXiv stand {listed}, DeepSeek's first report of it in {_month(given['deepseek'])}. {order}; whether "
        "DeepSeek found it for itself as well is not known."
    )
    return Settled([found], why)


def months_ahead(number: float, others: Sequence[float]) -> float:
    """Return by how many months an arXiv number such as 2412 comes before the first of others; below 0 if after."""
    return float(min(map(_months, others)) - _months(number))


def _month(number: float) -> str:
    """Write the month of an arXiv number, e.g. 2311: November 2023."""
    year, month = divmod(int(number), 100)
    return f"20{year:02d}-{month:02d}"


def _months(number: float) -> int:
    """Count the months of an arXiv number."""
    year, month = divmod(int(number), 100)
    return 12 * year + month


@settles("serving-ep-buckets", "serving#routers-buckets-and-dead-workers")
def _serving_ep_buckets(given: Values) -> Settled:
    together, gain = int(given["together"]), given["gain"]
    rows = (
        ("tokens per chip, experts spread over nodes over tensor parallelism",
         'catalog.tables().serving.gains["sglang-ep-decode"].low', False),
        ("tokens computed without buckets over those with them, where prompts are filled up",
         f"claims.serving.saved_by_buckets({together})", False),
        ("tokens computed without buckets over those with them, where prompts are packed",
         "claims.serving.saved_by_buckets(1)", True),
    )  # fmt: skip
    parts = [
        part(name, "times", gain, formula, 0.0, relation="at least", beyond=beyond, number="gain")
        for name, formula, beyond in rows
    ]
    kinds = list(traffic())
    padded = [lengths.longest(together) / lengths.mean for lengths in kinds]
    bucketed = [lengths.rounded_up() / lengths.mean for lengths in kinds]
    spread = catalog.tables().serving.gains["sglang-ep-decode"]
    why = (
        f"Experts spread over nodes wrote {spread.low:g} times as many tokens per chip as tensor parallelism did "
        f"({spread.model}, decode alone). By the lengths of {len(kinds)} kinds of traffic, {together} prompts filled "
        f"up to the longest of them compute {_span(padded, '.1f')} times their tokens, in buckets that double in "
        f"length {_span(bucketed, '.1f')}. Engines of today pack prompts of unlike lengths and fill up nothing, so "
        "that buckets save no arithmetic there; what they still buy is shorter waits. Xiaomi names no factor for "
        "either."
    )
    return Settled(parts, why, "prompts of a batch are filled up to the longest of them, as few engines still do")


def saved_by_buckets(together: int) -> float:
    """Return tokens computed without buckets over those with buckets that double in length, the least of all traffic.

    Args:
        together: prompts that are filled up to the longest of them; 1 where prompts are packed and nothing is filled.
    """
    return min(lengths.longest(together) / lengths.rounded_up() for lengths in traffic())


def _span(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
