"""Claims about serving, settled: prefill and decode apart, what the split costs and gains, margins at a load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from costlab import catalog, prices, roofline
from costlab.arrays import Floats
from costlab.catalog import PriceRow, workloads
from costlab.claims import articles
from costlab.claims.ledger import MIMO_PRO, Settled, Values, graded, settles
from costlab.traces import arrivals

CHIP = "h800"  # what DeepSeek's day was served on; the efficiencies come from there
OLD_DAY = "2026-05-20"  # before Xiaomi's cut
DENSE = "llama-3.1-70b"  # a model without experts, for the phases as such
BOUNDS = "compute", "memory"  # what E says that limits prefill and decode
SPLITS = (2, 1), (1, 1)  # chips that prefill to chips that decode
PACKED = 1.0  # tokens computed for each token of a prompt where nothing is filled up


# --- prefill and decode apart ----------------------------------------------------------------------------------


@settles("pd-2-3x")
def _pd_2_3x(given: Values) -> Settled:
    factors = list(_separations())
    inside = [given["low"] <= factor <= given["high"] for factor in factors]
    halved = 0 < given["low"] <= given["high"] and 1 / given["high"] <= given["cost"] <= 1 / given["low"]
    computed = (
        f"{sum(inside)} of {len(factors)} published factors at equal chips, both ends of each range, are from "
        f"{given['low']:g} to {given['high']:g}; all are from {min(factors):.2f} to {max(factors):.2f}, and "
        f"{sum(factor <= 1 for factor in factors)} are no gain"
    )
    rates = catalog.tables().serving.rates["distserve-13b"]
    splits = " and ".join(
        f"{rates.separated_requests_s(prefill, decode) / rates.both_requests_s:.2f} with {prefill} to {decode}"
        for prefill, decode in SPLITS
    )
    why = (
        "The gain is in requests that meet objectives for both latencies, and it hangs on the chips that prefill to "
        f"those that decode: DistServe's rates of either phase alone give {splits}. Tokens per second hardly change "
        f"(Mooncake's test: {catalog.tables().serving.gains['mooncake-a10-2048'].low:.2f}). {_half_counted()}"
    )
    return graded((*inside, halved)), computed, f"{why}."


def _separations() -> Iterator[float]:
    """What separation gained for each chip, by every source of the catalog."""
    serving = catalog.tables().serving
    for gain in serving.gains.values():
        if gain.lever == "separation" and gain.equal_chips:
            yield from gain.factors
    yield from (cluster.gain for cluster in serving.clusters.values() if cluster.gain is not None)


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


@settles("pd-4096-rule")
def _pd_4096_rule(given: Values) -> Settled:
    sent = [(lengths.name, *lengths.above(given["tokens"])) for lengths in _lengths()]
    computed = "sent to the prefill nodes, by the lengths of public traces: " + ", ".join(
        f"{prompts:.1%} of the prompts and {tokens:.0%} of their tokens ({name})" for name, prompts, tokens in sent
    )
    apart = [tokens > given["most"] for *_, tokens in sent]
    why = (
        f"All else is read on nodes that decode, which separation is to avoid; in {sum(apart)} of {len(sent)} kinds of "
        f"traffic more than {given['most']:.0%} of the tokens are read apart. A prompt of exactly "
        f"{given['tokens']:,.0f} counts as short, and a longer one as long even if all of it is cached. Engines that "
        "have such a rule count what is not cached"
    )
    return graded(apart), computed, f"{why}."


@dataclass(frozen=True)
class _Lengths:
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


def _lengths() -> Iterator[_Lengths]:
    stored = workloads.workloads()
    for key in (*stored.workloads, *stored.mixtures):
        table, trace = arrivals.lengths_of(key), stored.workloads.get(key)
        upto, means = np.array(table.inputs.upto, dtype=np.float64), np.array(table.inputs.means)
        prompts, rate = table.counts.sum(1), trace.requests / trace.span_s if trace else None
        yield _Lengths(key, upto, means, prompts / prompts.sum(), rate)


@settles("pd-scheduler-code")
def _pd_scheduler_code(given: Values) -> Settled:
    scheduler = articles.ArticleScheduler(
        int(given["prefill_nodes"]), int(given["decode_nodes"]), int(given["threshold"]), int(given["channel"])
    )
    lengths = int(given["short"]), int(given["long"])
    requests = int(given["requests"])
    served = 0
    while served < requests and scheduler.schedule(lengths[served % 2]) is not None:
        served += 1
    read = scheduler.read_apart + scheduler.read_beside
    beside = scheduler.read_beside / read if read else 0.0
    computed = (
        f"of {requests:,} prompts, by turns {lengths[0]:,} and {lengths[1]:,} tokens long, {served:,} are scheduled; "
        f"{beside:.0%} of their tokens are read on nodes that decode, and {scheduler.moved_bytes} bytes of keys and "
        "values are moved"
    )
    unknown = ", ".join(scheduler.undefined)
    missing = f"Nothing declares or imports {unknown}, so it does not compile. " if unknown else ""
    why = (
        f"{missing}Nothing takes transfers out of its channel of {given['channel']:,.0f}, so the next long prompt "
        f"waits for ever{_until_full(given)}. A transfer is noted before the prompt is read, with no data and no "
        "size. No node's memory, load or failure is looked at, and both pools are the same chip"
    )
    parts = (not scheduler.undefined, not beside, served == requests)
    return graded(parts), computed, f"{why}."


def _until_full(given: Values) -> str:
    """Say how long a channel lasts that nobody empties, at the rates of public traces."""
    known = [(each.above(given["threshold"])[0], each.requests_s) for each in _lengths() if each.requests_s]
    lasts = [given["channel"] / share / rate for share, rate in known if share and rate]
    return f", at the rates of public traces after {_clock(min(lasts))} to {_clock(max(lasts))}" if lasts else ""


def _clock(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@settles("pd-phases")
def _pd_phases(given: Values) -> Settled:
    day, checked = catalog.tables().days["deepseek-day"], roofline.check_day()
    alone = roofline.deployment(DENSE, "a100-80g", day.chips_per_node, tensor_parallel=day.chips_per_node)
    spread = roofline.deployment(day.model, day.chip, day.prefill_chips)
    dense = alone.prefill(int(given["input"])).bound, alone.decode(int(given["batch"]), int(given["input"])).bound
    moe = spread.prefill(day.mean_context, batch=spread.replicas).bound, checked.decode_ideal.bound
    nodes = catalog.tables().serving.nodes
    tokens, sequences = (
        nodes["deepseek-profile-prefill"].tokens_per_chip or 0,
        nodes["deepseek-profile-decode"].batch_per_chip or 0,
    )
    prompts = tokens / (nodes["deepseek-profile-prefill"].input_tokens or 1)
    computed = (
        f"{alone.model.name} on {alone.chips} {alone.chip.name}: prefill of {given['input']:,.0f} tokens "
        f"{dense[0]}-bound, decode of {given['batch']:,.0f} sequences {dense[1]}-bound. {spread.model.name} as "
        f"DeepSeek's day was served: prefill {moe[0]}-bound on {day.prefill_chips} chips, decode {moe[1]}-bound on "
        f"{day.decode_chips}"
    )
    why = (
        f"Where experts are spread over nodes the network is a limit too. Counted in tokens, a pass of prefill is the "
        f"larger ({tokens:,} on a chip of DeepSeek's profile, {sequences} in decode); counted in requests it is the "
        f"smaller ({prompts:.0f} prompts, {sequences} sequences). DeepSeek's service spreads prefill over "
        f"{day.prefill_chips} chips, decode over {day.decode_chips}"
    )
    phases = [found == claimed for each in (dense, moe) for found, claimed in zip(each, BOUNDS, strict=True)]
    return graded((*phases, prompts > sequences, day.prefill_chips > day.decode_chips)), computed, f"{why}."


@settles("pd-first")
def _pd_first(given: Values) -> Settled:
    others = {"Splitwise": given["splitwise"], "DistServe": given["distserve"]}
    listed = ", ".join(f"{name} in {_month(number)}" for name, number in others.items())
    computed = f"on arXiv: {listed}, DeepSeek's first report of it in {_month(given['deepseek'])}"
    first = given["deepseek"] < min(others.values())
    ahead = _months(given["deepseek"]) - _months(min(others.values()))
    others_first = f"Others published it up to {ahead} months before. Whether DeepSeek found it for itself is not known"
    why = "Nobody published it before" if first else others_first
    return "holds" if first else "wrong", computed, f"{why}."


def _month(number: float) -> str:
    """Write the month of an arXiv number, e.g. 2311: November 2023."""
    year, month = divmod(int(number), 100)
    return f"20{year:02d}-{month:02d}"


def _months(number: float) -> int:
    """Count the months of an arXiv number."""
    year, month = divmod(int(number), 100)
    return 12 * year + month


@settles("serving-ep-buckets")
def _serving_ep_buckets(given: Values) -> Settled:
    together, traffic = int(given["together"]), list(_lengths())
    padded = [lengths.longest(together) / lengths.mean for lengths in traffic]
    bucketed = [lengths.rounded_up() / lengths.mean for lengths in traffic]
    spread = catalog.tables().serving.gains["sglang-ep-decode"]
    computed = (
        f"by the lengths of {len(traffic)} kinds of traffic, {together} prompts filled up to the longest of them "
        f"compute {_span(padded, '.1f')} times their tokens, in buckets that double in length "
        f"{_span(bucketed, '.1f')}; experts spread over nodes wrote {spread.low:g} times as many tokens per chip as "
        f"tensor parallelism did ({spread.model}, decode alone)"
    )
    why = (
        "Engines of today pack prompts of unlike lengths and fill up nothing, so there is nothing to save. What "
        f"buckets still buy is that {together} ranks that read a prompt each wait less for the longest, which without "
        f"them is {_span(padded, '.1f')} times as long as the mean, and that short prompts don't queue behind long "
        "ones. Xiaomi names no factor for either"
    )
    return graded((spread.low > 1, max(bucketed) < PACKED)), computed, f"{why}."


# --- money at a load -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Traffic:
    """A kind of traffic on a deployment that runs as full as its memory allows, for each million output tokens."""

    name: str  # whose lengths it has
    batch_per_chip: float  # sequences that decode at once
    cost_usd: float  # rent of the chips
    before_usd: float  # at the list before the cut
    after_usd: float  # at the list after it

    @property
    def margins(self) -> tuple[float, float]:
        """What is paid over the rent, before and after."""
        return self.before_usd / self.cost_usd, self.after_usd / self.cost_usd


@settles("margin-before-cut")
def _margin_before_cut(given: Values) -> Settled:
    traffic = list(_served(given))
    if not traffic:
        return _no_room(given)
    before = [each.margins[0] for each in traffic]
    loads = [(given["low"] / margin, given["high"] / margin) for margin in before]
    computed = (
        f"at the old list full engines take in {_span(before, '.1f')} times the rent of their {given['chips']:g} "
        f"{_chip()}, at {given['hit_rate']:.0%} hits and the efficiencies of DeepSeek's day; {given['low']:g} to "
        f"{given['high']:g} times at {min(loads)[0]:.0%} to {max(loads)[1]:.0%} of that load"
    )
    fell = _span([each.before_usd / each.after_usd for each in traffic], ".1f")
    why = (
        "Xiaomi publishes neither its costs nor its load. By its old list the same traffic paid "
        f"{fell} times as much as by the new one, so a margin of {given['low']:g} to {given['high']:g} then and none "
        "now would need costs that fell too, or engines that now run fuller"
    )
    possible = any(low <= 1 and given["low"] <= given["high"] for low, _ in loads)
    return "holds with a condition" if possible else "wrong", computed, f"{why}."


@settles("breakeven-after-cut")
def _breakeven_after_cut(given: Values) -> Settled:
    traffic = list(_served(given))
    if not traffic:
        return _no_room(given)
    loads = [1 / each.margins[1] for each in traffic]
    computed = (
        f"at the new list full engines take in {_span([each.margins[1] for each in traffic], '.2f')} times the rent of "
        f"their {given['chips']:g} {_chip()} ({_span([each.batch_per_chip for each in traffic], '.0f')} sequences on "
        f"each), at {given['hit_rate']:.0%} hits and the efficiencies of DeepSeek's day; the rent is earned from "
        f"{_span(loads, '.0%')} of that load on"
    )
    fewer = [each.margins[1] for each in _served({**given, "chips": given["chips"] / 2})]
    cramped = f" On {given['chips'] / 2:g} it is {_span(fewer, '.2f')} times." if fewer else ""
    why = (
        f"The batch decides, and with it the room that memory has beside the weights.{cramped} Rent is the only cost "
        "here: staff, training, free use and idle hours come on top, and Xiaomi's own figures are not "
        f"published{_hosts()}"
    )
    near = graded((max(loads) <= 1, min(loads) >= given["near"]))
    return "wrong" if min(loads) > 1 else near, computed, f"{why}."


def _hosts() -> str:
    """Say what others ask who serve the same weights: a bound from above on what that costs them."""
    last = prices.price_at(MIMO_PRO).output
    asked = [each for each in catalog.tables().prices if (each.host_of, each.currency) == (MIMO_PRO, "USD")]
    if not asked:
        return ""
    day = max(each.date for each in asked)
    return (
        f". Who hosts the same weights, which Xiaomi no longer sells, need not lose on them: on {day} {len(asked)} "
        f"hosts ask {_span([each.output / last for each in asked], '.2f')} times that price for output"
    )


def _served(given: Values) -> Iterator[_Traffic]:
    """MiMo-V2.5-Pro on `chips` chips with traffic of published lengths, where memory holds it."""
    day, tables = roofline.check_day(), catalog.tables()
    unit = roofline.deployment(MIMO_PRO, CHIP, max(1, int(given["chips"])))
    rent = prices.chip_rent(CHIP).amount
    old, new = prices.price_at(MIMO_PRO, OLD_DAY), prices.price_at(MIMO_PRO)
    lengths = [("DeepSeek's day", day.day.input_tokens / day.day.output_tokens, day.day.mean_context)]
    lengths += [
        (key, trace.input_tokens / trace.output_tokens, round(trace.input_tokens + trace.output_tokens / 2))
        for key, trace in tables.traces.items()
        if trace.input_tokens and trace.output_tokens
    ]
    for name, inputs, context in lengths:
        if batch := unit.max_batch(context):
            reading = unit.prefill(context, batch=unit.replicas)
            read_usd = reading.compute_s * unit.usd_per_s(rent) / reading.tokens / day.prefill_mfu * 1e6
            written_usd = unit.usd_per_million(unit.decode(batch, context), rent) / day.decode_efficiency
            cost = inputs * (1 - given["hit_rate"]) * read_usd + written_usd
            paid = (_paid(row, inputs, given["hit_rate"]) for row in (old, new))
            yield _Traffic(name, batch / unit.chips, cost, *paid)


def _paid(row: PriceRow, inputs: float, hit_rate: float) -> float:
    """Return what a million output tokens and the input before them bring."""
    return inputs * float(prices.blended_input(row, hit_rate)) + row.output


def _no_room(given: Values) -> Settled:
    return "wrong", f"{given['chips']:g} {_chip()} hold no sequence beside the weights", "There is nothing to earn."


def _chip() -> str:
    return catalog.chip(CHIP).name


def _span(values: Iterable[float], form: str) -> str:
    found = list(values)
    low, high = format(min(found), form), format(max(found), form)
    return low if low == high else f"{low} to {high}"
