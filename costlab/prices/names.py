"""Which product a name means: as lists, APIs and logs write it.

>>> from costlab import prices
>>> prices.resolve("deepseek/deepseek-v4-pro")
'deepseek-v4-pro'
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from costlab import catalog, checks
from costlab.catalog import Alias, PriceRow, moment
from costlab.catalog.price_lists import Publisher, start_of
from costlab.prices.validity import holds

#: Sellers as they stand before the stroke of a name: as OpenRouter, LiteLLM, Hugging Face and makers' SDKs write it.
#: Only a product of that seller is meant: "azure/gpt-5.5" is none of OpenAI's.
VENDORS = {
    "alibaba": "Alibaba Cloud", "anthropic": "Anthropic", "bytedance": "ByteDance", "bytedance-seed": "ByteDance",
    "dashscope": "Alibaba Cloud", "deepseek": "DeepSeek", "deepseek-ai": "DeepSeek", "gemini": "Google",
    "google": "Google", "inclusionai": "Ant Group", "meta": "Meta", "meta-llama": "Meta", "minimax": "MiniMax",
    "minimaxai": "MiniMax", "mistral": "Mistral AI", "mistralai": "Mistral AI", "models": "Google",
    "moonshot": "Moonshot AI", "moonshotai": "Moonshot AI", "openai": "OpenAI", "qwen": "Alibaba Cloud",
    "stepfun": "StepFun", "tencent": "Tencent", "volcengine": "ByteDance", "x-ai": "xAI", "xai": "xAI",
    "xiaomi": "Xiaomi", "xiaomimimo": "Xiaomi", "z-ai": "Zhipu", "zai": "Zhipu", "zai-org": "Zhipu", "zhipu": "Zhipu",
    "zhipuai": "Zhipu",
}  # fmt: skip

#: Organisations of Hugging Face where makers publish weights: a product so named is one that others may sell too.
WEIGHTS_OF = frozenset({
    "deepseek-ai", "inclusionai", "minimaxai", "mistralai", "moonshotai", "qwen", "tencent", "xiaomimimo", "zai-org",
})  # fmt: skip

#: Who may stand before a seller and passes its prices on. All others there are hosts with prices of their own, as in
#: "together_ai/deepseek-ai/DeepSeek-V4-Pro".
PASSED_ON = ("openrouter",)

#: A checkpoint so much older than the first price of its name was sold before it, maybe at another price, such as
#: qwen-plus-2025-01-25. Makers date checkpoints some weeks before they sell them.
OLDER = timedelta(days=60)

#: Rows of price lists by product.
Listed = Mapping[str, tuple[PriceRow, ...]]

#: The day of a checkpoint behind a name: -2026-04-24, -20260424, @20260424, -0424.
_DAY = re.compile(r"(?:-20\d\d-[01]\d-[0-3]\d|[-@]20\d\d[01]\d[0-3]\d|-[01]\d[0-3]\d)$")


def listed(published_by: Publisher = "provider") -> Listed:
    """Return the rows of the providers' own lists, or of an article's table: oldest first, by product."""
    return catalog.tables().rows_of.get(published_by, {})


def products(published_by: Publisher = "provider", when: str | date | datetime | None = None) -> tuple[str, ...]:
    """Return the products that have prices, in alphabetical order.

    Args:
        published_by: in the providers' own lists, or in an article's table.
        when: only those sold at that moment, see `moment`; None for all.
    """
    known = listed(published_by)
    if when is None:
        return tuple(known)
    at = moment(when)
    return tuple(product for product, rows in known.items() if any(holds(row, at) for row in rows))


def resolve(name: str, when: str | date | datetime | None = None) -> str:
    """Return the product that a name means: itself, or as an API or a log writes it.

    Names of APIs, a seller in front ("anthropic/"), a day behind ("-20260424"), dashes for the points of a version
    and capitals are understood.

    Args:
        name: e.g. "deepseek-v4-pro", "anthropic/claude-opus-4-8", "deepseek-chat".
        when: a name may have meant different products over time, see `moment`; None: the newest meaning.

    Raises:
        ValueError: a name of no product; the message has those that it may misspell.
    """
    text = name.strip().lower()
    seller, stroke, bare = text.rpartition("/")
    known = listed()
    if not stroke or text in known or text in catalog.tables().meanings:
        return _meant(name, text, known, when)
    *before, vendor = seller.split("/")
    strange = [each for each in (*before, vendor) if each not in VENDORS and (each not in PASSED_ON or each == vendor)]
    if strange:
        raise ValueError(
            f"no prices of the seller {strange[0]!r} are known for {name!r};{_suggestions(bare, known) or _WHERE}"
        )
    product = _meant(name, bare, known, when)
    sellers = {row.provider for row in known[product]}
    if VENDORS[vendor] not in sellers:
        raise ValueError(f"{name!r}: {product!r} is sold by {', '.join(sorted(sellers))}, not by {VENDORS[vendor]}")
    return product


def names_weights(name: str) -> bool:
    """Whether a name is written as Hugging Face has it, "Qwen/Qwen3.8-Max": of weights, not of one seller's product."""
    text = name.strip().lower()
    return text not in listed() and text.rpartition("/")[0] in WEIGHTS_OF  # Tencent is a host, too


_WHERE = " `costlab prices` lists the known ones"


def _meant(name: str, text: str, known: Listed, when: str | date | datetime | None) -> str:
    gone = None
    for form in _forms(text):
        if form in known:
            _refuse_older(name, text, known[form])
            return form
        aliases = catalog.tables().meanings.get(form, ())
        if found := _valid(aliases, when):
            return found.product
        gone = gone or next(iter(aliases), None)
    if gone:
        raise ValueError(f"{name!r} meant {gone.product!r} at another time; at {when} it is the name of no product")
    raise ValueError(f"unknown product with a price {name!r};{_suggestions(text, known) or _WHERE}")


def _refuse_older(name: str, text: str, rows: Sequence[PriceRow]) -> None:
    """Refuse a checkpoint that was sold before the prices of its product begin; its rows are given oldest first."""
    found = _DAY.search(text)
    digits = re.sub(r"\D", "", found[0]) if found else ""
    if len(digits) != len("20240513"):
        return
    try:
        made = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return
    first = start_of(rows[0].valid_from)
    if made < first - OLDER:
        raise ValueError(f"{name!r} is older than the prices of {rows[0].product!r}, which begin on {first:%Y-%m-%d}")


def _forms(text: str) -> Iterator[str]:
    """Yield a name as it stands, without its day, and with points in its version."""
    for form in dict.fromkeys([text, _DAY.sub("", text)]):
        yield from dict.fromkeys([form, re.sub(r"(?<=\d)-(?=\d)", ".", form)])


def _valid(aliases: Sequence[Alias], when: str | date | datetime | None) -> Alias | None:
    """Return the alias that holds then; without a moment the one that began last."""
    if when is None:
        return max(aliases, key=lambda a: start_of(a.valid_from or date.min), default=None)
    return next((alias for alias in aliases if holds(alias, moment(when))), None)


def _suggestions(text: str, known: Collection[str]) -> str:
    """Ask whether a product was meant whose name goes on after this one, or is spelled nearly so.

    Another number is another product, no misspelling: "gpt-5.6" is not meant to be "gpt-5.5".
    """
    longer = [name for name in known if name.startswith(f"{text}-")]
    numbers = re.findall(r"\d+", text)
    misspelled = checks.near(text, [name for name in known if re.findall(r"\d+", name) == numbers])
    found = list(dict.fromkeys([*([misspelled] if misspelled else []), *longer]))
    return f" did you mean {' or '.join(map(repr, found[:4]))}?" if found else ""
