"""The verb prompts: what breaks a prompt cache in a log of one's own requests, and which order would save it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from costlab import prices
from costlab.cli import clock
from costlab.cli.arguments import add_verb, moment_arg, positive_arg
from costlab.cli.output import Answer, Row, sources
from costlab.prompts import BreakGroup, PromptAccount, ReplaySums, SharedPrefix, prompt_account, read_requests
from costlab.prompts.rendering import MARKS
from costlab.text import cell, columns

_FINDS = {
    "blocks": "any beginning that was sent before",
    "units": "whole beginnings: of requests, and where two parted",
    "marks": "beginnings that a request marks",
}


def add_verbs(verbs: Any) -> None:
    """Add prompts."""
    about = "which bytes of your own requests break a prompt cache, and the cost"
    verb = add_verb(verbs, "prompts", _prompts, about, f"prompts {_EXAMPLE} --when 2026-11-27")
    what = (
        "requests as OpenAI's or Anthropic's interfaces take them, one a line; - reads stdin; nothing is sent anywhere"
    )
    verb.add_argument("log", metavar="FILE", help=what)
    name = "whose prices, and whose cache (default deepseek-v4-pro)"
    verb.add_argument("--product", type=str.lower, default="deepseek-v4-pro", metavar="NAME", help=name)
    day = "of the prices, e.g. 2026-09-01 or 2026-09-01T02:00, in UTC (default today)"
    verb.add_argument("--when", type=moment_arg, dest="moment", metavar="DATE", help=day)
    kept = "how long something unused stays in the cache (default: as the provider says)"
    verb.add_argument("--ttl", type=positive_arg, dest="lifetime_s", metavar="SECONDS", help=kept)
    ratio = "bytes of text that make a token (default: 1 / 0.3)"
    verb.add_argument("--bytes-per-token", type=positive_arg, metavar="BYTES", help=ratio)
    pace = "for sums of a month (default: the log's own pace)"
    verb.add_argument("--requests-per-month", type=positive_arg, metavar="N", help=pace)
    text = "show a few bytes of text around each break; without it no text of a request is printed"
    verb.add_argument("--show-text", action="store_true", help=text)


_EXAMPLE = "tests/prompts/support.jsonl"


def _prompts(args: argparse.Namespace) -> Answer:
    args.moment = args.moment or prices.moment(clock.today())
    requests = read_requests(sys.stdin.buffer if args.log == "-" else args.log)
    found = prompt_account(
        requests,
        args.product,
        args.moment,
        lifetime_s=args.lifetime_s,
        bytes_per_token=args.bytes_per_token,
        requests_per_month=args.requests_per_month,
    )
    row = _row(found, args.show_text)
    lines = [*_advice_lines(found), *_break_lines(row, args.show_text), *_shared_lines(row)]
    return Answer([row], list(_orders(found)), lines, list(_notes(found, args)), _sources(found))


# --- rows ------------------------------------------------------------------------------------------------------


def _row(found: PromptAccount, show_text: bool) -> dict[str, Any]:
    run, plan = found.run, found.proposal
    return {
        "product": found.product,
        "provider": found.row.provider,
        "currency": found.row.currency,
        "requests": len(found.requests),
        "log_s": found.span_s,
        "requests_per_month": found.requests_per_month,
        "bytes_per_token": run.bytes_per_token,
        "lifetime_s": run.lifetime_s,
        "minimum_tokens": run.rule.minimum_tokens,
        "block_tokens": run.rule.block_tokens,
        "finds": run.rule.finds,
        "input_tokens": run.tokens,
        "hit_tokens": run.hits,
        "write_tokens": run.writes,
        "miss_tokens": run.misses - run.writes,
        "hit_rate": run.hits / run.tokens,
        "input_amount": plan.before.cost,
        "monthly_amount": _monthly(found, plan.before.cost),
        "breaks": [_break_row(found, group, show_text) for group in found.groups],
        "changes": [
            {
                "change": change.name,
                "advice": change.says,
                "taken": change.taken,
                "changed_requests": change.requests,
                "alone_hit_rate": _hit_rate(change.alone),
                "alone_saved_amount": plan.before.cost - change.alone.cost,
                "alone_monthly_saved_amount": _monthly(found, plan.before.cost - change.alone.cost),
            }
            for change in plan.changes
        ],
        "proposed_hit_rate": _hit_rate(plan.after),
        "proposed_amount": plan.after.cost,
        "saved_amount": plan.saved,
        "monthly_saved_amount": _monthly(found, plan.saved),
        "shared": [_shared_row(found, each) for each in found.shared],
    }


def _break_row(found: PromptAccount, group: BreakGroup, show_text: bool) -> dict[str, Any]:
    monthly = _monthly(found, group.lost_tokens)
    example = group.example if show_text and group.example.before else None
    return {
        "cause": group.cause,
        "field": group.path,
        "offset_bytes": group.offset,
        "broken_requests": group.requests,
        "first_line": found.requests[group.first].line,
        "lost_tokens": group.lost_tokens,
        "lost_tokens_per_request": group.lost_per_request,
        "monthly_lost_tokens": None if monthly is None else round(monthly),
        "monthly_lost_amount": None if monthly is None else monthly * found.lost_price / 1e6,
        "text_before": example and example.before.decode(errors="replace"),
        "text_after": example and example.after.decode(errors="replace"),
    }


def _shared_row(found: PromptAccount, each: SharedPrefix) -> dict[str, Any]:
    return {
        "field": each.path,
        "beginning_bytes": each.size,
        "beginning_tokens": each.tokens,
        "sharing_requests": each.requests,
        "last_line": found.requests[each.last].line,
        "spared_tokens": each.saved_tokens,
    }


def _monthly(found: PromptAccount, amount: float) -> float | None:
    return None if found.monthly is None else amount * found.monthly


def _hit_rate(outcome: ReplaySums) -> float:
    return outcome.hits / outcome.tokens


# --- tables ----------------------------------------------------------------------------------------------------


def _orders(found: PromptAccount) -> Iterator[Row]:
    """Yield a row for the requests as logged, for each change alone, and for the proposal."""
    plan = found.proposal
    taken = [change for change in plan.changes if change.taken]
    yield _order(found, "as logged", plan.before, None)
    for change in plan.changes:
        yield _order(found, f"{change.name}{'' if change.taken else ' (not proposed)'}", change.alone, change.requests)
    if len(taken) > 1:
        count = max(change.requests for change in taken)
        yield _order(found, "proposed changes together", plan.after, count)


def _order(found: PromptAccount, name: str, outcome: ReplaySums, changed: int | None) -> Row:
    saved = found.proposal.before.cost - outcome.cost
    money = found.row.currency
    return {
        "order": name,
        "changed": changed,
        "hits": outcome.hits,
        "not hit": outcome.misses,
        "hit rate": f"{_hit_rate(outcome):.1%}",
        money: outcome.cost,
        f"{money} a month": _monthly(found, outcome.cost),
        "saved a month": None if changed is None else _monthly(found, saved),
    }


def _advice_lines(found: PromptAccount) -> Iterator[str]:
    """Yield what a developer does for each change that is proposed."""
    taken = [change for change in found.proposal.changes if change.taken]
    for change in taken:
        yield f"to do: {change.says}"
    if not taken and found.groups:
        yield (
            "to do: no change of order that is tried here makes the bill smaller; what mends each cause stands in the"
            " book's reference of this verb"
        )


def _break_lines(row: Row, show_text: bool) -> Iterator[str]:
    if not row["breaks"]:
        yield "no request stops being found where an earlier one goes on alike"
        return
    heads = ["what breaks it", "where", "byte", "requests", "first line", "tokens each", "a month"]
    heads.append(f"{row['currency']} a month")
    keys = ("cause", "field", "offset_bytes", "broken_requests", "first_line", "lost_tokens_per_request")
    lines = [
        [*(cell(each[key]) for key in keys), cell(each["monthly_lost_tokens"]), cell(each["monthly_lost_amount"])]
        for each in row["breaks"]
    ]
    yield ""
    yield from columns([heads, *lines], range(2, len(heads))).split("\n")
    for each in row["breaks"] if show_text else ():
        if each["text_before"]:
            yield f"{each['cause']} at {each['field']}: {each['text_before']!r} became {each['text_after']!r}"


def _shared_lines(row: Row) -> Iterator[str]:
    if not row["shared"]:
        yield "no two requests begin alike"
        return
    heads = ["what requests share", "ends at", "by requests", "last line"]
    keys = ("beginning_tokens", "field", "sharing_requests", "last_line")
    lines = [[f"{cell(each[keys[0]])} tokens", *(cell(each[key]) for key in keys[1:])] for each in row["shared"][:5]]
    yield ""
    yield from columns([heads, *lines], (2, 3)).split("\n")
    yield ""


# --- notes -----------------------------------------------------------------------------------------------------


def _notes(found: PromptAccount, args: argparse.Namespace) -> Iterator[str]:
    yield "read on this machine and sent nowhere" + ("" if args.show_text else "; no text is shown without --show-text")
    hours = f", {found.row.window}" if found.row.window else ""
    at = f"{args.moment:%Y-%m-%d %H:%M} UTC{hours}"
    written = "" if found.row.write is None else f"; written to the cache {found.row.write:g}"
    yield f"prices of {found.product} at {at}: {prices.prices_text(found.row)}{written}"
    rule = found.run.rule
    yield (
        f"the cache finds {_FINDS[rule.finds]}, from {rule.minimum_tokens:,} tokens on, in steps of"
        f" {rule.block_tokens:,}, unused for {found.run.lifetime_s:,.0f} s at most; {rule.note or 'as its guide says'}"
    )
    per_token = f"{found.run.bytes_per_token:.3g} bytes of text a token"
    yield f"tokens are estimated: {per_token}{f' ({found.ratio.says})' if found.ratio else ''}"
    if opaque := sum(prompt.opaque for prompt in found.prompts):
        yield f"{opaque:,} images and files count as a hash, whatever their size"
    if left := sum(bool(request.body.get("previous_response_id")) for request in found.requests):
        yield (
            f"requests that go on from previous_response_id: {left:,}; what the provider adds before their input is"
            " neither counted nor priced here"
        )
    if found.run.rule.finds == "marks" and (long := sum(_marked_longer(request.body) for request in found.requests)):
        yield (
            f"requests that mark something to be kept for a time of their own: {long:,}; here all stays"
            f" {found.run.lifetime_s:,.0f} s, and a write costs the list's single price; --ttl takes another time"
        )
    yield from _pace_notes(found, args)
    taken = {change.name for change in found.proposal.changes if change.taken}
    if "clock and ids last" in taken:
        yield (
            "what leaves the system text is read as the user's words: leave there what has to bind the model, such as"
            " whose data it may show"
        )
    if taken & {"clock and ids last", "documents first"}:
        yield "another order can change answers, not only costs: compare some before it is used"
    if len({request.model for request in found.requests}) > 1:
        yield "the log asks for several models: they share no cache here, and all are priced as one product"
    if found.groups:
        yield (
            "a break loses what stands behind it in both requests; another break may follow there, so what a change"
            " saves is replayed, not summed up"
        )


def _marked_longer(value: Any) -> bool:
    """Whether a request, or a mark anywhere in it, says how long something is to be kept."""
    if isinstance(value, dict):
        own = any(isinstance(mark := value.get(name), dict) and mark.get("ttl") not in (None, "5m") for name in MARKS)
        return own or any(map(_marked_longer, value.values()))
    return isinstance(value, list) and any(map(_marked_longer, value))


def _pace_notes(found: PromptAccount, args: argparse.Namespace) -> Iterator[str]:
    if found.span_s is None:
        yield "the log has no times: requests follow one another at once, so that nothing leaves the cache"
    if found.requests_per_month is None:
        yield "no sums of a month: give --requests-per-month"
    elif args.requests_per_month is None and found.span_s:
        yield (
            f"a month is {found.requests_per_month:,.0f} requests, at the pace of the log's"
            f" {found.span_s / 3600:,.3g} hours"
        )


def _sources(found: PromptAccount) -> Sequence[Row]:
    ratio = [("token ratio", found.ratio.says, found.ratio)] if found.ratio else []
    rule = ("cache rule", found.rule.provider or "others", found.rule)
    return sources(("price", found.row.product, found.row), rule, *ratio)
