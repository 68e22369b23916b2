"""Claims about tiered caches, settled."""

from __future__ import annotations

from costlab import arch, cache, catalog, hybrid
from costlab.checks import pick
from costlab.claims import articles
from costlab.claims.ledger import LONG, MIMO_PRO, Settled, Values, layer_of, ratio, settles
from costlab.claims.parts import ClaimPart, literal, part
from costlab.text import tokens_text

_FOOT = 'cache.footprint("mimo-v2.5-pro")'
TIERS = ("hbm", "dram", "ssd")
#: Tokens of the prefix whose reading E's times are held against.
PREFIX = 32_768


@settles("cache-transfer-1-7", "tiers#two-pools-seven-or-five")
def _cache_transfer_1_7(given: Values) -> Settled:
    share, contexts = 0.05, (LONG, 8192, 1024)
    parts = [
        part(f"bytes moved at {tokens_text(n)} over those of a stack of full layers", "share", given["share"],
             f'hybrid.kv_saving("mimo-v2.5-pro", [{n}]).fraction[0]', share, beyond=n != LONG, number="share")
        for n in contexts
    ]  # fmt: skip
    saving = hybrid.kv_saving(MIMO_PRO, contexts)
    found = ", ".join(f"{float(f):.4f} at {tokens_text(n)}" for f, n in zip(saving.fraction, contexts, strict=True))
    why = (
        f"Of the bytes of a stack in which all layers see everything there remain {found}. From "
        f"{saving.close_from(share):,.0f} tokens on it is within {share:.0%} of {saving.limit:.4f}, which the counts "
        "of layers give in the long run; in short contexts the windows weigh more."
    )
    assumption = f"contexts longer than {saving.close_from(share):,.0f} tokens, if before all layers moved every token"
    return Settled(parts, why, assumption)


@settles("cache-tokens-5x", "tiers#two-pools-seven-or-five")
def _cache_tokens_5x(given: Values) -> Settled:
    times = given["times"]
    parts = (
        part("times as many tokens that can be cached, at the most", "times", times, f"{_FOOT}.multiplier(0)", 0.0,
             relation="at least", number="times"),
        part("share of the cost of caching that is saved", "share", given["saved"],
             f"1 - 1 / {literal(times)}" if times else None, 1e-6, number="saved"),
    )  # fmt: skip
    footprint = cache.footprint(MIMO_PRO)
    most = footprint.multiplier(0)
    possible = 0 < times < most
    each = f"{footprint.spacing(times):,.0f}" if possible else ""
    kept = f"{times:g} times as many tokens with a window for each {each} tokens, and " if possible else ""
    why = (
        f"In the same memory fit {kept}{most:g} times as many if no window is kept; more "
        f"than that is out of reach. By arithmetic {times:g} times as many save {1 - ratio(1, times):.1%}, and "
        f"{given['saved']:.1%} is claimed; {most:g} times would save {1 - 1 / most:.1%}. Xiaomi has not published how "
        "many windows it keeps."
    )
    assumption = "windows are kept at the spacing that gives this factor, which was not published"
    return Settled(parts, why, assumption, sought=True)


@settles("cache-read-overlap", "tiers#reading-behind-the-compute")
def _cache_read_overlap(given: Values) -> Settled:
    prefix, new, rate, flops = (given[name] for name in ("prefix", "new", "bytes_s", "flops_s"))

    def hidden(tokens: float) -> str:
        return (
            f'cache.prefill_behind("mimo-v2.5-pro", {literal(prefix)}, {literal(tokens)}, {literal(rate)}, '
            f'loading="streamed", flops_per_s={literal(flops)}).hidden_share'
        )

    few = new / 16
    parts = [
        part(f"share of the load that hides behind the compute of {n:,.0f} new tokens", "share", given["hidden"],
             hidden(n), 0.0, relation="at least", beyond=n != new, number="hidden")
        for n in (new, few)
    ]  # fmt: skip
    streamed, serial = (
        cache.prefill_behind(MIMO_PRO, int(prefix), int(new), rate, loading=mode, flops_per_s=flops)
        for mode in ("streamed", "serial")
    )
    first = streamed.events[0]
    why = (
        f"A prefill of {new:,.0f} tokens behind {tokens_text(prefix)} cached, at {rate / 1e9:g} GB/s and "
        f"{flops / 1e12:g} TFLOP/s, takes {streamed.finish_s * 1e3:.0f} ms instead of {serial.finish_s * 1e3:.0f} one "
        f"after the other, and {streamed.hidden_share:.0%} of the load hides. Nothing hides the first layer's, "
        f"{(first.load_end_s - first.load_start_s) / streamed.load_s:.0%} of it. With {few:,.0f} new tokens there is "
        f"little to hide behind: {parts[1].computed:.0%}."
    )
    return Settled(parts, why, "the question after the cached prefix is long enough to compute while layers load")


@settles("cache-tiers", "tiers#three-tiers")
def _cache_tiers(given: Values) -> Settled:
    share = 0.1
    moved = f"cache.prefix_bytes({_FOOT}, {PREFIX})"
    rates = {
        "hbm": 'catalog.chip("a100-80g").memory_bandwidth_bytes_s',
        "dram": 'catalog.tables().media["dram"].read_bytes_s',
        "ssd": 'catalog.tables().media["ssd"].read_bytes_s',
    }
    names = {"hbm": "an A100's memory", "dram": "host memory", "ssd": "an SSD"}
    parts = [part("bytes of an A100's memory", "bytes", given["hbm_bytes"], 'catalog.chip("a100-80g").memory_bytes',
                  share, number="hbm_bytes")]  # fmt: skip
    for tier, rate in rates.items():
        parts.append(part(f"rate of {names[tier]}", "bytes per second", given[f"{tier}_bytes_s"], rate, share,
                          number=f"{tier}_bytes_s"))  # fmt: skip
        time = f"time to read a prefix of {tokens_text(PREFIX)} from {names[tier]}"
        parts.append(part(time, "seconds", given[f"{tier}_answer_s"], f"{moved} / {rate}", share,
                          number=f"{tier}_answer_s"))  # fmt: skip
    parts.append(part("latency of an SSD", "seconds", given["ssd_latency_s"],
                      'catalog.tables().media["ssd"].latency_s', share, number="ssd_latency_s"))  # fmt: skip
    parts += [part(f"price of {names[tier]}", "USD per GB", given[f"{tier}_usd_gb"], None, share,
                   number=f"{tier}_usd_gb") for tier in TIERS]  # fmt: skip
    known = [each.agrees for each in parts if each.agrees is not None]
    dollars = ", ".join(f"{given[tier + '_usd_gb']:g}" for tier in TIERS)
    speeds = {each.number: each.computed or 0.0 for each in parts}
    why = (
        f"Of {len(known)} figures {sum(known)} agree to {share:.0%}: the A100 reads "
        f"{speeds['hbm_bytes_s'] / 1e9:,.0f} GB/s, host memory {speeds['dram_bytes_s'] / 1e9:.1f}, an SSD "
        f"{speeds['ssd_bytes_s'] / 1e9:g} GB/s after {speeds['ssd_latency_s'] * 1e6:.0f} us. E's code charges "
        f"{given['dram_answer_s'] * 1e6:g} us for any DRAM hit, where a {tokens_text(PREFIX)} prefix takes "
        f"{speeds['dram_answer_s'] * 1e3:.0f} ms. Its dollars per GB "
        f"({dollars}) have no source."
    )
    return Settled(parts, why)


@settles("cache-block-bytes", "hybrid#hybrid-cache")
def _cache_block_bytes(given: Values) -> Settled:
    model = arch.load(MIMO_PRO)
    theirs, context = given["width"] * 2 * given["bytes"] * given["layers"], model.record.context
    names = "width,layers,bytes"
    parts = (
        part("cache of a token", "bytes", theirs, f"{_FOOT}.full_bytes_per_token", 0.1, number=names),
        part(f"cache of {tokens_text(context)} tokens, by E with its windows", "bytes",
             theirs * min(context, given["window"]), f"cache.prefix_bytes({_FOOT}, {context})", 0.1,
             number=f"{names},window"),
    )  # fmt: skip
    layer, (ours, whole) = layer_of(MIMO_PRO, arch.FullAttention), (each.computed or 0.0 for each in parts)
    size = f"{layer.kv_heads} key heads of {layer.qk_dim} and {layer.v_dim} dims in {layer.entry[0][1].upper()}"
    why = (
        f"E's code gives {theirs:,.0f} bytes per token against {ours:,.0f}: {theirs / ours:.3g} times as many. "
        f"{model.name} has {hybrid.pattern(MIMO_PRO).full} layers that see all, with {size}. With E's windows of "
        f"{given['window']:,.0f} tokens in every layer {parts[1].claimed / 1e9:.1f} GB are left at "
        f"{tokens_text(context)}, where its own layers keep {whole / 1e9:.1f} GB."
    )
    return Settled(parts, why)


# --- the article's table, and its manager ----------------------------------------------------------------------


@settles("cache-table", "tiers#three-tiers")
def _cache_table(given: Values) -> Settled:
    rows = ("plain", "tiered", "windows")
    parts = [part(f"tokens that the tiers of the {row} row hold", "tokens", given[row],
                  f'claims.tiers.article_tokens("{row}")', 0.1, number=row) for row in rows]  # fmt: skip
    parts += [part(f"mean price of the tiers of the {row} row", "USD per GB", given[f"{row}_usd_gb"],
                   f'claims.tiers.article_usd_gb("{row}")', 0.1, number=f"{row}_usd_gb") for row in rows]  # fmt: skip
    plain, tiered, most = (f"{(each.computed or 0) / 1e6:,.2f}M" for each in parts[:3])
    right, costs = sum(each.agrees is True for each in parts), [each.computed or 0.0 for each in parts[3:]]
    said = [f"${given[f'{row}_usd_gb']:g}" for row in rows]
    why = (
        f"E's own tiers do not give its table: its HBM holds {plain} tokens of MiMo-V2.5-Pro, all its tiers {tiered}, "
        f"with windows {most}, and {right} of {len(parts)} figures follow. Its own ${costs[0]:g} per GB of HBM and "
        f"${costs[1]:.2f} of all tiers stand against {', '.join(said[:-1])} and {said[-1]}. None of them is a price "
        "per token."
    )
    return Settled(parts, why)


def article_tokens(row: str) -> float:
    """Return how many tokens of MiMo-V2.5-Pro the tiers hold on which a row of E's table rests.

    Args:
        row: "plain" for HBM alone, "tiered" for all tiers, "windows" for all tiers where windows are kept apart.

    Raises:
        ValueError: another row.
    """
    footprint, sizes = cache.footprint(MIMO_PRO), [_tiers_of_article()[f"{tier}_bytes"] for tier in TIERS]
    held = {
        "plain": sizes[0] / footprint.all_bytes_per_token,
        "tiered": sum(sizes) / footprint.all_bytes_per_token,
        "windows": sum(sizes) / footprint.full_bytes_per_token,
    }
    return pick(held, row, "row")


def article_usd_gb(row: str) -> float:
    """Return E's dollars per GB of the tiers on which a row of its table rests, see `article_tokens`.

    Raises:
        ValueError: another row.
    """
    known = _tiers_of_article()
    sizes, costs = ([known[f"{tier}_{what}"] for tier in TIERS] for what in ("bytes", "usd_gb"))
    mean = sum(size * cost for size, cost in zip(sizes, costs, strict=True)) / sum(sizes)
    return pick({"plain": costs[0], "tiered": mean, "windows": mean}, row, "row")


def _tiers_of_article() -> Values:
    """Sizes and dollars of the tiers that E's table rests on."""
    return catalog.tables().claims["cache-tiers"].values


@settles("cache-eviction-code", "claims#article-manager")
def _cache_eviction_code(given: Values) -> Settled:
    hbm, dram, ssd, blocks = (int(given[name]) for name in ("hbm", "dram", "ssd", "blocks"))
    run = f"claims.articles.run_manager({hbm}, {dram}, {ssd}, {blocks})"
    parts: list[ClaimPart] = [
        part("blocks in SSD beyond its places", "blocks", given["over"], f"{run}.over", 0.0, relation="at most",
             number="over"),
        part("blocks that HBM holds uncounted after an eviction", "blocks", given["uncounted"], f"{run}.uncounted",
             0.0, relation="at most", number="uncounted"),
    ]  # fmt: skip
    found = articles.run_manager(hbm, dram, ssd, blocks)
    why = (
        f"Asked for {blocks} blocks again and again, with room for {hbm}, {dram} and {ssd}, the manager ends with "
        f"{found.in_ssd} in SSD's {ssd} places and {found.evicted} evictions. One eviction called by hand then leaves "
        f"{found.held} blocks in HBM and counts {found.counted}."
    )
    return Settled(parts, why)
