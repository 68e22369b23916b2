"""Compare the catalog's prices with the newest litellm and genai-prices packages, and print what to look at.

    python tools/check_prices.py                              # installs both in an environment of its own
    python tools/check_prices.py --litellm FILE --genai PATH  # a price file; a folder with genai_prices, or its dump
    python tools/check_prices.py --new                        # also names that the catalog does not have

Nothing is written in the project, and no figure is taken over: both files hold errors, and people have to look. What
is known of these is left out: resellers (only a vendor's own entries, and the hosts that the catalog names, are read),
litellm's price of DeepSeek (the peak price), prices that are missing or 0 (not listed), yuan divided by 7.25 in
genai-prices, borders that are one token off (inclusive or not), prices that are rounded, and what `ACCEPTED` lists.

Exit status: 0 nothing to look at, 1 differences, 2 no answer.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from costlab import catalog
from costlab.catalog import PriceRow
from costlab.catalog.price_lists import start_of

#: A vendor's own entries in litellm: (what their names begin with, their provider there).
LITELLM = {
    "Alibaba Cloud": ("dashscope/", "dashscope"),
    "Anthropic": ("", "anthropic"),
    "DeepSeek": ("deepseek/", "deepseek"),
    "Google": ("gemini/", "gemini"),
    "Meta": ("meta/", "meta"),
    "MiniMax": ("minimax/", "minimax"),
    "Mistral AI": ("mistral/", "mistral"),
    "Moonshot AI": ("moonshot/", "moonshot"),
    "OpenAI": ("", "openai"),
    "Tencent": ("tencent/", "tencent"),
    "Xiaomi": ("xiaomi_mimo/", "xiaomi_mimo"),
    "Zhipu": ("zai/", "zai"),
    "xAI": ("xai/", "xai"),
}
#: A vendor's own provider in genai-prices, by currency.
GENAI = {
    ("Anthropic", "USD"): "anthropic",
    ("DeepSeek", "USD"): "deepseek",
    ("Google", "USD"): "google",
    ("Meta", "USD"): "meta",
    ("MiniMax", "USD"): "minimax",
    ("Mistral AI", "USD"): "mistral",
    ("Moonshot AI", "USD"): "moonshotai",
    ("OpenAI", "USD"): "openai",
    ("Zhipu", "CNY"): "zhipuai",
    ("Zhipu", "USD"): "zai",
    ("xAI", "USD"): "x-ai",
}
YUAN = 7.25  # by which genai-prices divides the yuan of "zhipuai"
#: Differences that were looked at: (product, field, package) and why ours stays.
ACCEPTED = {
    ("claude-sonnet-4.5", "tier", "litellm"): "the beta for long prompts is in genai-prices only",
    ("hy4", "*", "litellm"): "there it has the preview's price; OpenRouter shows half of it",
}
_FIELDS = {  # ours: litellm's, genai-prices'
    "miss": ("input_cost_per_token", "input_mtok"),
    "hit": ("cache_read_input_token_cost", "cache_read_mtok"),
    "output": ("output_cost_per_token", "output_mtok"),
    "write": ("cache_creation_input_token_cost", "cache_write_mtok"),
    "write_long": ("cache_creation_input_token_cost_above_", "cache_write_1h_mtok"),
}
#: Run by a Python that has genai-prices: its prices as JSON, each a list of periods, newest last.
DUMP = """
import json, sys
from genai_prices.data import providers
def plain(value):
    if hasattr(value, "tiers"):
        return {"base": float(value.base), "tiers": [[t.start, float(t.price)] for t in value.tiers]}
    return float(value)
found = {}
for provider in providers:
    for model in provider.models:
        many = model.prices if isinstance(model.prices, list) else [model.prices]
        found[f"{provider.id}/{model.id}"] = [
            {
                "from": str(getattr(getattr(each, "constraint", None), "start_date", None) or "") or None,
                "hours": hasattr(getattr(each, "constraint", None), "start_time"),
                "prices": {k: plain(v) for k, v in vars(getattr(each, "prices", each)).items()
                           if v is not None and k.endswith("_mtok")},
            }
            for each in many
        ]
json.dump(found, sys.stdout)
"""


class NoAnswerError(Exception):
    """The packages could not be read."""


@dataclass(frozen=True)
class Difference:
    """One thing to look at."""

    product: str  # of the catalog
    field: str  # what differs
    ours: str  # in the catalog
    theirs: str  # in the package
    source: str  # the package and its entry
    hint: str = ""  # why it may be no error of ours

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.product}: {self.field} is {self.ours} here, {self.theirs} in {self.source}{hint}"


# --- reading the packages ----------------------------------------------------------------------------------------


def read_litellm(path: Path) -> dict[str, Any]:
    """Return litellm's price file, from the JSON itself or a wheel."""
    name = "litellm/model_prices_and_context_window_backup.json"
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return dict(json.loads(wheel.read(name)))
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise NoAnswerError(f"{path}: no price file of litellm: {error}") from error


def read_genai(path: Path, python: str = sys.executable) -> dict[str, Any]:
    """Return genai-prices' entries, from a dump or by importing the package that lies in a folder."""
    try:
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        code = f"import sys; sys.path.insert(0, {str(path)!r})\n{DUMP}"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise NoAnswerError(f"{path}: genai_prices does not import: {done.stderr.strip().splitlines()[-1]}")
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NoAnswerError(f"{path}: no prices of genai-prices: {error}") from error


def newest(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Install both packages in an environment of their own in a folder, and return what they hold."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    for packages in (["--no-deps", "litellm"], ["genai-prices"]):  # of litellm one file is read
        done = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            raise NoAnswerError(f"pip could not install {packages[-1]}: {done.stderr.strip()[-300:]}")
    (site,) = folder.glob("lib/python*/site-packages")
    return read_litellm(site / "litellm/model_prices_and_context_window_backup.json"), read_genai(site, python)


# --- which entry is a product's -----------------------------------------------------------------------------------


def live(when: datetime) -> list[PriceRow]:
    """Return the providers' rows that hold at a moment."""
    return [
        row
        for row in catalog.tables().prices
        if row.published_by == "provider"
        and start_of(row.valid_from) <= when
        and (row.valid_to is None or when < start_of(row.valid_to))
    ]


def names(row: PriceRow, when: datetime) -> set[str]:
    """Return the names that a product has at a moment, in lower case."""
    others = {
        alias.name
        for alias in catalog.tables().aliases
        if alias.product == row.product
        and (alias.valid_from is None or start_of(alias.valid_from) <= when)
        and (alias.valid_to is None or when < start_of(alias.valid_to))
    }
    return {row.product, *others}


def litellm_key(row: PriceRow, prices: Mapping[str, Any], when: datetime) -> str | None:
    """Return the entry of a row in litellm: the vendor's own, or for a host the one that its source names."""
    if row.currency != "USD":
        return None
    if row.host_of is not None:
        named = re.search(r"litellm price file[^(]*\(([^,)]+)", row.source)
        return named[1] if named and named[1] in prices else None
    if row.provider not in LITELLM:
        return None
    prefix, provider = LITELLM[row.provider]
    wanted = {prefix + name for name in names(row, when)}
    found = [key for key, each in prices.items() if key.lower() in wanted and each.get("litellm_provider") == provider]
    found.sort(key=lambda key: ("tiered_pricing" not in prices[key], key.lower() != prefix + row.product, key))
    priced = [key for key in found if "input_cost_per_token" in prices[key] or "tiered_pricing" in prices[key]]
    return priced[0] if priced else None


def genai_key(row: PriceRow, prices: Mapping[str, Any], when: datetime) -> str | None:
    """Return the vendor's own entry of a row in genai-prices."""
    provider = GENAI.get((row.provider, row.currency))
    if row.host_of is not None or provider is None:
        return None
    wanted = {f"{provider}/{name}" for name in names(row, when)}
    found = sorted(key for key in prices if key.lower() in wanted)
    own = [key for key in found if key.lower() == f"{provider}/{row.product}"]
    return (own or found or [None])[0]


# --- what they ask ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Theirs:
    """A package's prices of a product, per million tokens; absent where it lists none or 0."""

    prices: Mapping[str, float]  # by our names
    border: int | None = None  # tokens at which its dear tier starts, give or take one


def of_litellm(entry: Mapping[str, Any], dear: bool) -> Theirs:
    """Return litellm's prices of the cheap or the dear tier."""
    if "tiered_pricing" in entry:
        tiers = entry["tiered_pricing"]
        tier = tiers[-1] if dear else tiers[0]
        prices = {ours: tier[key] * 1e6 for ours, (key, _) in _FIELDS.items() if tier.get(key)}
        return Theirs(prices, int(tiers[-1]["range"][0]) if len(tiers) > 1 else None)
    borders = [m[1] for key in entry if (m := re.fullmatch(r"input_cost_per_token_above_(\d+)k_tokens", key))]
    suffix = f"_above_{borders[0]}k_tokens" if dear and borders else ""
    prices = {}
    for ours, (key, _) in _FIELDS.items():
        for stem in [key] if ours != "write_long" else [key + "1hr", key + "12hr"]:
            if entry.get(stem + suffix):
                prices[ours] = entry[stem + suffix] * 1e6
    return Theirs(prices, int(borders[0]) * 1000 if borders else None)


def of_genai(periods: list[dict[str, Any]], when: date, dear: bool, peak: bool, factor: float) -> Theirs:
    """Return genai-prices' prices of a day: those of certain hours for a peak row, else those of all day."""
    fitting = [p for p in periods if p["hours"] == peak and (p["from"] is None or p["from"] <= str(when))]
    if not fitting:
        return Theirs({})
    found, border, prices = fitting[-1]["prices"], None, {}
    for ours, (_, key) in _FIELDS.items():
        value = found.get(key)
        if isinstance(value, dict):
            border, high = value["tiers"][-1]
            value = high if dear else value["base"]
        if value:
            prices[ours] = value * factor
    return Theirs(prices, border)


# --- the comparison --------------------------------------------------------------------------------------------------


def differences(litellm: Mapping[str, Any], genai: Mapping[str, Any], when: datetime) -> Iterator[Difference]:
    """Yield where the catalog's rows of a moment and the packages differ."""
    rows = live(when)
    windowed = {row.product for row in rows if row.window}
    for row in rows:
        dear = row.min_input_tokens > 0
        tiers = sorted({r.min_input_tokens for r in rows if (r.product, r.currency) == (row.product, row.currency)})
        if len(tiers) > 2:
            continue  # neither package has more than two tiers
        border = tiers[-1]
        if (key := litellm_key(row, litellm, when)) and not (row.product in windowed and row.window != "peak"):
            yield from compare(row, of_litellm(litellm[key], dear), border, f"litellm {key}")
            yield from _ends(row, litellm[key], f"litellm {key}")
        if key := genai_key(row, genai, when):
            factor = YUAN if row.currency == "CNY" else 1.0
            theirs = of_genai(genai[key], when.date(), dear, row.window == "peak", factor)
            if dear and theirs.border is None and factor != 1:
                continue
            yield from compare(row, theirs, border, f"genai-prices {key}", 0.03 if factor != 1 else 0.01)
            yield from _announced(row, genai[key], when, f"genai-prices {key}")


def compare(row: PriceRow, theirs: Theirs, border: int, source: str, close: float = 0.01) -> Iterator[Difference]:
    """Yield where a row and a package's prices of its tier differ by more than rounding."""
    if not theirs.prices:
        return
    if (theirs.border or 0) and abs((theirs.border or 0) - border) > 1:
        yield Difference(row.product, "tier", f"{border or 'none'}", f"{theirs.border}", source)
        if row.min_input_tokens:
            return
    elif border and not theirs.border and row.min_input_tokens:
        yield Difference(row.product, "tier", f"{border}", "none", source, "a tier may be missing there")
        return
    for field in _FIELDS:
        ours, other = getattr(row, field), theirs.prices.get(field)
        if other is None or (ours is None and field.startswith("write") and abs(other / row.miss - 1) < close):
            continue  # not listed there; a write at the price of a miss is none
        if ours is None or abs(ours - other) > close * max(ours, 0.005):
            hint = "a copy of the peak price?" if row.window == "off-peak" else _hint(field, ours, other)
            yield Difference(row.product, field, "none" if ours is None else f"{ours:g}", f"{other:.6g}", source, hint)


def _hint(field: str, ours: float | None, other: float) -> str:
    if ours is None:
        return "not in our source, or of another kind of cache"
    if field == "hit" and abs(ours / other - 10) < 0.1:
        return "ten times: implicit or explicit cache?"
    if abs(other / ours - 0.5) < 0.01 or abs(other / ours - 2) < 0.01:
        return "twice: another service, tier or an introductory price?"
    return ""


def _ends(row: PriceRow, entry: Mapping[str, Any], source: str) -> Iterator[Difference]:
    """Yield an end that litellm announces and the row does not have, or another; a day more or less is none."""
    theirs = entry.get("deprecation_date")
    if not theirs or row.min_input_tokens or row.host_of is not None:
        return  # a host's row is of the day it was read
    ours = None if row.valid_to is None else start_of(row.valid_to).date()
    last = [r.valid_to for r in catalog.tables().prices if (r.product, r.currency) == (row.product, row.currency)]
    end = None if None in last else max(start_of(each).date() for each in last if each is not None)
    if end is None or abs(end - date.fromisoformat(theirs)) > timedelta(days=1):
        yield Difference(row.product, "end", f"{end or ours or 'open'}", theirs, source, "of a snapshot or a cloud?")


def _announced(row: PriceRow, periods: list[dict[str, Any]], when: datetime, source: str) -> Iterator[Difference]:
    """Yield a change to come that genai-prices has and the catalog does not."""
    starts = {start_of(r.valid_from).date() for r in catalog.tables().prices if r.product == row.product}
    for period in periods if not row.min_input_tokens else ():
        day = date.fromisoformat(period["from"]) if period["from"] else None
        if day and day > when.date() and all(abs(day - each) > timedelta(days=1) for each in starts):
            yield Difference(row.product, "announced", "nothing", f"a price from {day}", source)


def unknown(litellm: Mapping[str, Any], when: datetime) -> list[str]:
    """Return names of chat products in vendors' own entries that the catalog does not have."""
    known = {name for row in catalog.tables().prices for name in names(row, when)}
    known |= {alias.name for alias in catalog.tables().aliases}
    found = set()
    for key, entry in litellm.items():
        vendors = (prefix for prefix, provider in LITELLM.values() if entry.get("litellm_provider") == provider)
        prefix = next((p for p in vendors if key.startswith(p)), None)
        if prefix is not None and entry.get("mode") == "chat" and key[len(prefix) :].lower() not in known:
            found.add(key)
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    """Print what to look at, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", type=Path, help="its price file or wheel, in place of the newest")
    parser.add_argument("--genai", type=Path, help="a folder with its package or a dump, in place of the newest")
    parser.add_argument("--date", help="day whose prices are compared, e.g. 2026-11-25; today")
    parser.add_argument("--new", action="store_true", help="also list names that the catalog does not have")
    args = parser.parse_args(arguments)
    if (args.litellm is None) != (args.genai is None):
        parser.error("--litellm and --genai belong together")
    try:
        when = catalog.moment(args.date) if args.date else datetime.now(UTC)
        if args.litellm is not None:
            litellm, genai = read_litellm(args.litellm), read_genai(args.genai)
        else:
            with tempfile.TemporaryDirectory() as folder:
                litellm, genai = newest(Path(folder))
    except (NoAnswerError, OSError, ValueError) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 2
    return _report(litellm, genai, when, args.new)


def _report(litellm: Mapping[str, Any], genai: Mapping[str, Any], when: datetime, new: bool) -> int:
    def accepted(each: Difference) -> str | None:
        package = each.source.split()[0]
        return ACCEPTED.get((each.product, each.field, package)) or ACCEPTED.get((each.product, "*", package))

    found = list(dict.fromkeys(differences(litellm, genai, when)))
    to_see = [each for each in found if accepted(each) is None]
    for each in to_see:
        print(each)
    rows = live(when)
    seen = {row.product for row in rows if litellm_key(row, litellm, when) or genai_key(row, genai, when)}
    print(
        f"{len(to_see)} differences, {len(found) - len(to_see)} known ones left out;"
        f" of {len({row.product for row in rows})} products on {when:%Y-%m-%d} the packages have {len(seen)}"
    )
    if new:
        print("not in the catalog:", ", ".join(unknown(litellm, when)) or "nothing")
    return 1 if to_see else 0


if __name__ == "__main__":
    sys.exit(main())
