"""Claims about tiered caches, settled."""

from __future__ import annotations

from costlab import arch, cache, catalog, hybrid
from costlab.claims import articles
from costlab.claims.ledger import LONG, MIMO_PRO, Settled, Values, Verdict, agrees, graded, layer_of, ratio, settles
from costlab.text import tokens_text


@settles("cache-transfer-1-7")
def _cache_transfer_1_7(given: Values) -> Settled:
    contexts, share = (1024, 8192, LONG), 0.05
    saving = hybrid.kv_saving(MIMO_PRO, contexts)
    first, *others = zip(saving.fraction.tolist(), map(tokens_text, contexts), strict=True)
    moved = ", ".join([f"{first[0]:.4f} of the all-full bytes at {first[1]}", *(f"{f:.4f} at {n}" for f, n in others)])
    why = f"Within {share:.0%} of {saving.limit:.4f} from {saving.close_from(share):,.0f} tokens on"
    right = agrees(given["share"], saving.limit, 1e-3)
    everywhere = all(agrees(given["share"], fraction, share) for fraction in saving.fraction)
    verdict: Verdict = "holds" if everywhere else "holds with a condition"
    computed = f"{moved} (claimed: {given['share']:.4f})"
    return verdict if right else "wrong", computed, f"{why}, if before all layers moved every token."


@settles("cache-tokens-5x")
def _cache_tokens_5x(given: Values) -> Settled:
    footprint = cache.footprint(MIMO_PRO)
    most, times = footprint.multiplier(0), given["times"]
    saved = 1 - ratio(1, times)
    saves = f"{times:g} times as many save {saved:.1%}, and {given['saved']:.1%} is claimed"
    why = f"{saves}; {most:g} times would save {1 - 1 / most:.1%}"
    if not 0 < times < most or not agrees(given["saved"], saved, 1e-9):
        return "does not follow", f"{most:g} times if no window is kept", f"{why}."
    computed = (
        f"{most:g} times if no window is kept; {times:g} times with one per {footprint.spacing(times):,.0f} tokens"
    )
    return "holds with a condition", computed, f"{why}. The spacing was not published."


@settles("cache-read-overlap")
def _cache_read_overlap(given: Values) -> Settled:
    prefix, new, rate, flops = (given[name] for name in ("prefix", "new", "bytes_s", "flops_s"))
    streamed, serial = (
        cache.prefill_behind(MIMO_PRO, int(prefix), int(new), rate, loading=mode, flops_per_s=flops)
        for mode in ("streamed", "serial")
    )
    where = (
        f"{new:,.0f} tokens behind {tokens_text(prefix)} cached, at {rate / 1e9:g} GB/s and {flops / 1e12:g} TFLOP/s"
    )
    computed = f"{where}: {streamed.finish_s * 1e3:.0f} ms instead of {serial.finish_s * 1e3:.0f} one after the other"
    hidden = streamed.hidden_share
    first = streamed.events[0]
    waits = (first.load_end_s - first.load_start_s) / streamed.load_s
    why = f"{hidden:.0%} of the load hides; nothing hides the first layer's, {waits:.0%} of it."
    verdict: Verdict = "holds" if hidden > 0.99 else "holds with a condition" if hidden > 0.5 else "wrong"
    return verdict, computed, why


@settles("cache-tiers")
def _cache_tiers(given: Values) -> Settled:
    chip, media = catalog.chip("a100-80g"), catalog.tables().media
    prefix, share = 32_768, 0.1
    dram, ssd = media["dram"], media["ssd"]
    rates = {"hbm": chip.memory_bandwidth_bytes_s, "dram": dram.read_bytes_s, "ssd": ssd.read_bytes_s}
    moved = cache.prefix_bytes(cache.footprint(MIMO_PRO), prefix)
    read = {tier: ratio(moved, given[f"{tier}_bytes_s"]) for tier in rates}
    right = {f"{tier}_bytes_s": agrees(given[f"{tier}_bytes_s"], rate, share) for tier, rate in rates.items()}
    right |= {f"{tier}_answer_s": agrees(given[f"{tier}_answer_s"], seconds, share) for tier, seconds in read.items()}
    right["hbm_bytes"] = agrees(given["hbm_bytes"], chip.memory_bytes, share)
    right["ssd_latency_s"] = agrees(given["ssd_latency_s"], ssd.latency_s, share)
    memory = all(right[name] for name in ("hbm_bytes", "hbm_bytes_s", "dram_bytes_s"))
    speeds = f"{rates['hbm'] / 1e9:,.0f} GB/s, host memory {rates['dram'] / 1e9:.1f}, an SSD {rates['ssd'] / 1e9:g}"
    agree = f"{sum(right.values())} of {len(right)} figures agree to {share:.0%}"
    computed = f"{chip.name}: {speeds} GB/s after {ssd.latency_s * 1e6:.0f} us: {agree}"
    charged = f"The code charges {given['dram_answer_s'] * 1e6:g} us for any DRAM hit"
    takes = (
        f"a {tokens_text(prefix)} prefix takes {read['dram'] * 1e3:.0f} ms at its {given['dram_bytes_s'] / 1e9:g} GB/s"
    )
    dollars = ", ".join(f"{given[f'{tier}_usd_gb']:g}" for tier in rates)
    verdict = graded(right.values()) if memory else "wrong"
    return verdict, computed, f"{charged}; {takes}. Its dollars per GB ({dollars}) have no source."


@settles("cache-block-bytes")
def _cache_block_bytes(given: Values) -> Settled:
    model = arch.load(MIMO_PRO)
    theirs, ours = given["width"] * 2 * given["bytes"] * given["layers"], cache.footprint(MIMO_PRO).full_bytes_per_token
    context = model.record.context
    longest = theirs * min(context, given["window"]), cache.prefix_bytes(cache.footprint(MIMO_PRO), context)
    computed = f"{theirs:,.0f} bytes per token against {ours:,.0f}: {theirs / ours:.3g} times as many"
    layer = layer_of(MIMO_PRO, arch.FullAttention)
    size = f"{layer.kv_heads} key heads of {layer.qk_dim} and {layer.v_dim} dims in {layer.entry[0][1].upper()}"
    mine, its = (f"{size / 1e9:.1f} GB" for size in longest)
    why = (
        f"{model.name} has {hybrid.pattern(MIMO_PRO).full} layers that see all, {size}; with E's windows of "
        f"{given['window']:,.0f} tokens in every layer {mine} are left at {tokens_text(context)}, with its own {its}."
    )
    return graded((agrees(theirs, ours, 0.1), agrees(*longest, 0.1))), computed, why


@settles("cache-table")
def _cache_table(given: Values) -> Settled:
    footprint, tiers = cache.footprint(MIMO_PRO), _tiers_of_article()
    sizes, costs = ([tiers[f"{tier}_{what}"] for tier in ("hbm", "dram", "ssd")] for what in ("bytes", "usd_gb"))
    whole, windows = footprint.all_bytes_per_token, footprint.full_bytes_per_token
    tokens = {"plain": sizes[0] / whole, "tiered": sum(sizes) / whole, "windows": sum(sizes) / windows}
    mean = sum(size * cost for size, cost in zip(sizes, costs, strict=True)) / sum(sizes)
    dollars = {"plain": costs[0], "tiered": mean, "windows": mean}
    parts = [agrees(given[row], count, 0.1) for row, count in tokens.items()]
    parts += [agrees(given[f"{row}_usd_gb"], cost, 0.1) for row, cost in dollars.items()]
    plain, tiered, most = (f"{count / 1e6:,.2f}M" for count in tokens.values())
    computed = f"{sizes[0] / 1e9:g} GB hold {plain} tokens of MiMo-V2.5-Pro, all tiers {tiered}, with windows {most}"
    own = f"E's own ${costs[0]:g} per GB of HBM and ${mean:.2f} of all tiers"
    why = (
        f"{sum(parts)} of {len(parts)} figures follow from the tiers; {own} stand against ${given['plain_usd_gb']:g}, "
        f"${given['tiered_usd_gb']:g} and ${given['windows_usd_gb']:g}, and none of them is a price per token."
    )
    return graded(parts, none="does not follow"), computed, why


def _tiers_of_article() -> Values:
    """Sizes and dollars of the tiers that E's table rests on."""
    return catalog.tables().claims["cache-tiers"].values


@settles("cache-eviction-code")
def _cache_eviction_code(given: Values) -> Settled:
    hbm, dram, ssd, blocks = (int(given[name]) for name in ("hbm", "dram", "ssd", "blocks"))
    manager = articles.ArticleManager((hbm, dram, ssd))
    for block in [*range(blocks), *range(blocks)]:
        manager.access(block)
    over, evicted = manager.used[2], manager.evicted
    manager.evict()
    counted, held = manager.used[0], manager.held()[0]
    sound = over <= ssd and counted == held
    computed = (
        f"{blocks} blocks into tiers of {hbm}, {dram} and {ssd}: {over} in SSD's {ssd} places, {evicted} evictions"
    )
    why = f"One eviction called by hand then leaves {held} blocks in HBM and counts {counted}."
    return "holds" if sound else "wrong", computed, why
