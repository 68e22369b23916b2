"""The bill of a log: each call at the price of its own moment, hours, length of input and way to be served."""

from __future__ import annotations

import decimal
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import NamedTuple

from costlab import catalog
from costlab.catalog import FxRate, PriceRow, ServiceTier, rate_rows
from costlab.prices.charges import charge
from costlab.prices.hours import holidays_unknown, near_edge
from costlab.prices.lists import in_tier, price_at, service_of, tier_text
from costlab.prices.names import products, resolve
from costlab.prices.notes import NEAR_EDGE, seller_note
from costlab.prices.usage.fields import UsageFault, shown
from costlab.prices.usage.logs import UsageLog
from costlab.prices.usage.records import UsageRecord
from costlab.prices.usage.totals import SUMMED, UsageCell, UsageSum, grouped, summed
from costlab.prices.validity import Dated
from costlab.prices.workload import Counts

#: Copies of a response are known among so many latest ones.
RESPONSES_REMEMBERED = 1 << 17


@dataclass(frozen=True)
class UsageBill:
    """What the calls of a log cost."""

    currency: str  # ISO code of the amounts, but for `by_currency`
    total: UsageSum  # of all calls
    by_product: Mapping[str, UsageSum]  # by the product whose prices apply
    by_day: Mapping[str, UsageSum]  # by the calls' days in UTC
    by_window: Mapping[str, UsageSum]  # by "peak", "off-peak" and "all day"
    by_service: Mapping[str, UsageSum]  # by the way to be served: "standard", "batch" and the like
    by_currency: Mapping[str, UsageSum]  # by the price lists' currencies, in these
    first: datetime  # when the first call was made
    last: datetime  # when the last one was
    rows: tuple[PriceRow, ...]  # of the price lists, that were applied
    services: tuple[ServiceTier, ...]  # whose factors were applied
    rates: tuple[FxRate, ...]  # of exchange, that were applied
    notes: tuple[str, ...]  # what the amounts rest on and do not show, a sentence each


def bill_usage(log: UsageLog, currency: str = "USD", records: Iterable[UsageRecord] | None = None) -> UsageBill:
    """Return what the calls of a log cost.

    Args:
        log: see `read_usage`.
        currency: of the result; a price list in it is preferred, others are converted at the rate of a call's day.
        records: the log's own, where somebody watches them go by.

    Raises:
        TraceError: a record that cannot be read or priced, or none at all.
        ValueError: an unknown currency.
    """
    rate_rows("USD", currency, datetime.now(UTC))
    account = UsageAccount(currency)
    for record in log if records is None else records:
        try:
            account.add(record)
        except UsageFault as fault:
            log.refuse(fault, record.line)
    return account.bill(log)


class _Rate(NamedTuple):
    row: PriceRow
    service: ServiceTier | None
    name: str  # the product that was called
    notes: tuple[str, ...]  # on the moment and the seller


class _Moments:
    """Tells which moments have one price, so that not every call's is looked up: those of an hour, or of a minute.

    A minute in hours in which some price begins or ends, or an edge of the day's peak lies in or near.
    """

    def __init__(self) -> None:
        tables = catalog.tables()
        entries: tuple[Dated, ...] = (*tables.prices, *tables.windows, *tables.services, *tables.aliases)
        dates = [each for entry in entries for each in (entry.valid_from, entry.valid_to)]
        changes = [each for each in dates if isinstance(each, datetime)]
        self._changing = {int(each.timestamp()) // 3600 for each in changes}
        near = int(NEAR_EDGE.total_seconds()) // 60
        edges = [60 * t.hour + t.minute for rule in tables.windows for hours in rule.hours for t in hours]
        self._edged = {minute // 60 % 24 for edge in edges for minute in range(edge - near, edge + near + 1)}
        self._divided = {rule.provider for rule in tables.windows}
        self._plain: set[tuple[str, str | None]] = set()

    def span(self, record: UsageRecord) -> tuple[int, int]:
        """Return the length and number of the stretch of time within which a model's prices stay."""
        at = int(record.moment.timestamp())
        plain = (record.model, record.host) in self._plain or record.moment.hour not in self._edged
        length = 3600 if plain and at // 3600 not in self._changing else 60
        return length, at // length

    def learn(self, record: UsageRecord, row: PriceRow) -> None:
        """Note that a model's price is the same all day."""
        if row.provider not in self._divided:
            self._plain.add((record.model, record.host))


class UsageAccount:
    """Adds up records; copies of a response count once, as the one that counts most.

    Args:
        currency: in which price lists are preferred.
    """

    def __init__(self, currency: str = "USD") -> None:
        self.currency = currency
        self.cells: dict[UsageCell, UsageSum] = {}
        self._notes: Counter[str] = Counter()
        self._seen: OrderedDict[str, UsageRecord] = OrderedDict()
        self._rows: dict[tuple[str, str | None, tuple[int, int], str | None], list[_Rate]] = {}
        self._moments = _Moments()
        self._used: dict[PriceRow | ServiceTier, None] = {}
        self._span: tuple[datetime, datetime] | None = None
        self._copies, self._empty, self._forgotten = 0, 0, False

    def add(self, record: UsageRecord) -> None:
        """Add a record, or put it in the place of an earlier copy.

        Raises:
            UsageFault: no price for it, or a copy that contradicts the earlier one; the account is as before.
        """
        before = self._seen.get(record.id) if record.id else None
        if before:
            record = _fuller(before, record)
        try:
            new = list(self._sums(record))  # may raise, and then nothing is changed
        except UsageFault:
            if any(_kinds(record)):
                raise
            self._empty += 1  # agents write down answers of no model, such as "<synthetic>"
            return
        if before:
            self._copies += 1
            self._put(before, list(self._sums(before)), -1)
        self._put(record, new, 1)
        if record.id:
            self._remember(record.id, record)

    def _remember(self, id: str, record: UsageRecord) -> None:
        self._seen[id] = record
        self._seen.move_to_end(id)
        if len(self._seen) > RESPONSES_REMEMBERED:
            self._seen.popitem(last=False)
            self._forgotten = True

    def _put(self, record: UsageRecord, sums: list[tuple[UsageCell, UsageSum, tuple[str, ...]]], sign: int) -> None:
        for cell, amount, notes in sums:
            left = self.cells.get(cell, UsageSum(amount.currency)).plus(amount, sign)
            self.cells[cell] = left
            if not left.calls:
                del self.cells[cell]
            for note in notes:
                self._notes[note] += sign
        for note in record.notes:
            self._notes[note] += sign
        if sign > 0:
            first, last = self._span or (record.moment, record.moment)
            self._span = min(first, record.moment), max(last, record.moment)

    # --- what a record costs -----------------------------------------------------------------------------------

    def _sums(self, record: UsageRecord) -> Iterator[tuple[UsageCell, UsageSum, tuple[str, ...]]]:
        """Yield a record's calls: where each is added, what it cost, and what that rests on."""
        priced = [(self._rate(record, counts), counts) for counts in record.calls]
        charges = [(rate, charge(rate.row, counts, rate.service)) for rate, counts in priced]
        # what a record says it cost, it says of all its calls
        shares = [record.reported, *[_NOTHING] * (len(charges) - 1)] if record.reported is not None else None
        for place, (rate, due) in enumerate(charges):
            said = self._reported(shares[place], rate.row.currency, record.moment) if shares else None
            row, service = rate.row, rate.service.name if rate.service else "standard"
            day = record.moment.date().isoformat()
            cell = UsageCell(row.product, day, row.window or "all day", service, row.currency)
            yield cell, UsageSum.of(due, said), tuple(_row_notes(rate, due.counts, record))

    def _reported(self, dollars: Decimal, currency: str, when: datetime) -> Decimal:
        with decimal.localcontext(SUMMED):
            return dollars * Decimal(repr(rate_rows("USD", currency, when)[0]))

    def _rate(self, record: UsageRecord, counts: Counts) -> _Rate:
        known = self._rows.setdefault((record.model, record.host, self._moments.span(record), record.service), [])
        found = next((rate for rate in known if in_tier(rate.row, counts.input_tokens)), None)
        if found is None:
            found = self._looked_up(record, counts)
            known.append(found)
            self._moments.learn(record, found.row)
            if len(self._rows) > RESPONSES_REMEMBERED:
                self._rows.clear()
        self._used.setdefault(found.row)
        if found.service:
            self._used.setdefault(found.service)
        return found

    def _looked_up(self, record: UsageRecord, counts: Counts) -> _Rate:
        try:
            name, row = self._listed(record, counts.input_tokens)
        except ValueError as error:
            raise UsageFault("model", str(error)) from None
        try:
            service = service_of(row, record.service, record.moment) if record.service else None
        except ValueError as error:
            raise UsageFault("service_tier", str(error)) from None
        return _Rate(row, service, name, tuple(_place_notes(row, record)))

    def _listed(self, record: UsageRecord, input_tokens: int) -> tuple[str, PriceRow]:
        """Return the product of a record and the row that applies: the host's, else the maker's own."""
        *hosted, product = _products(record)
        for name in hosted:
            try:
                return name, price_at(name, record.moment, input_tokens=input_tokens, currency=self.currency)
            except ValueError:  # of hosts the catalog has no history
                continue
        return product, price_at(product, record.moment, input_tokens=input_tokens, currency=self.currency)

    # --- the whole ---------------------------------------------------------------------------------------------

    def bill(self, log: UsageLog) -> UsageBill:
        """Return the bill of what was added.

        Args:
            log: whose skipped records are noted.

        Raises:
            ValueError: nothing was added.
        """
        if self._span is None:
            raise ValueError(f"{log.name}: no usage record could be priced; the first: {log.skipped.first}")
        cells, rates = self._converted()
        return UsageBill(
            currency=self.currency,
            total=summed(cells.values(), self.currency),
            by_product=grouped(cells, "product"),
            by_day=grouped(cells, "day"),
            by_window=grouped(cells, "window"),
            by_service=grouped(cells, "service"),
            by_currency=grouped(self.cells, "currency"),
            first=self._span[0],
            last=self._span[1],
            rows=tuple(each for each in self._used if isinstance(each, PriceRow)),
            services=tuple(each for each in self._used if isinstance(each, ServiceTier)),
            rates=rates,
            notes=tuple(self._said(log, rates)),
        )

    def _converted(self) -> tuple[dict[UsageCell, UsageSum], tuple[FxRate, ...]]:
        cells, used = {}, {}
        for cell, amount in self.cells.items():
            noon = datetime.combine(datetime.fromisoformat(cell.day), time(12), UTC)
            rate, rows = rate_rows(cell.currency, self.currency, noon)
            cells[cell] = amount.converted(Decimal(repr(rate)), self.currency)
            used.update(dict.fromkeys(rows))
        return cells, tuple(used)

    def _said(self, log: UsageLog, rates: tuple[FxRate, ...]) -> Iterator[str]:
        for note, count in self._notes.items():
            if count:
                yield f"{count:,} call{'s' * (count > 1)}: {note}"
        if self._copies:
            yield f"{self._copies:,} repeated record{'s' * (self._copies > 1)} of a response not counted again"
        if self._empty:
            yield f"{self._empty:,} record{'s' * (self._empty > 1)} of no tokens and no known price left out"
        if self._forgotten:
            yield f"a response repeated after {RESPONSES_REMEMBERED:,} others is counted again"
        if rates:
            days = sorted({f"{rate.date}" for rate in rates})
            span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
            yield f"converted at the exchange rates of {span}, each call at the latest one before its day"
        if log.skipped.count:
            plural = "s" * (log.skipped.count > 1)
            yield f"{log.skipped.count:,} bad record{plural} skipped, first: {log.skipped.first}"


_NOTHING = Decimal(0)


def _fuller(before: UsageRecord, now: UsageRecord) -> UsageRecord:
    """Return the one of two copies that counts more, at the moment of the first.

    A response is written down several times while it streams, and then only its output grows; Anthropic's loops over
    server tools add input too.
    """
    name = shown(now.id)
    if before.model != now.model:
        raise UsageFault("id", f"{name} came on line {before.line:,} as a response of {before.model!r}")
    old, new = (_kinds(record) for record in (before, now))
    grown = all(a <= b for a, b in zip(old, new, strict=True))
    shrunk = all(a >= b for a, b in zip(old, new, strict=True))
    same_input = old[:-2] == new[:-2]
    if not (same_input or (now.format == "anthropic" and (grown or shrunk))):
        problem = f"{sum(old[:-2]):,} input tokens there, {sum(new[:-2]):,} here: it names no single response"
        raise UsageFault("id", f"{name} came on line {before.line:,}: {problem}; leave the field out")
    fuller = now if (new[-2] >= old[-2] if same_input else grown) else before
    return UsageRecord(
        before.model,
        before.moment,
        fuller.calls,
        fuller.format,
        fuller.service,
        fuller.host,
        fuller.id,
        fuller.reported,
        before.line,
        fuller.notes,
    )


def _kinds(record: UsageRecord) -> tuple[int, ...]:
    names = ("hit", "miss", "write", "write_long", "output", "thinking")
    return tuple(sum(getattr(counts, name) for counts in record.calls) for name in names)


#: What OpenRouter sets behind a model's name to choose among hosts or settings, at the hosts' prices.
_VARIANTS = ("nitro", "floor", "exacto", "extended", "thinking")


def _products(record: UsageRecord) -> list[str]:
    """Return the products that a record may be billed as: the host's, where the catalog has it, then the maker's."""
    name, _, variant = record.model.partition(":")
    if variant == "free":
        raise ValueError(f"{record.model!r} is free of charge; leave it out")
    product = resolve(name if variant in _VARIANTS else record.model, record.moment)
    return [*(each for each in products() if record.host and _is_served(product, record.host, each)), product]


def _is_served(product: str, host: str, hosted: str) -> bool:
    """Whether a product of the catalog is another one as a host sells it: "DeepInfra", "GMICloud", "Google Vertex"."""
    name, _, weights = hosted.rpartition("/")
    words = host.lower().replace("-", " ").split()
    return weights == product and bool(name) and (words[0].startswith(name) or name in words)


def _place_notes(row: PriceRow, record: UsageRecord) -> Iterator[str]:
    """Yield what is to know of a record's hour and of who sold its tokens."""
    if record.host is None and (note := seller_note(record.model, row)):
        yield note
    yield from _hour_notes(row, record.moment)


def _hour_notes(row: PriceRow, at: datetime) -> Iterator[str]:
    if row.window is None:
        return
    if near_edge(row.provider, at, NEAR_EDGE):
        minutes = NEAR_EDGE.total_seconds() / 60
        yield f"within {minutes:g} minutes of the hours' edge; whether a request's start or end decides is not settled"
    if holidays_unknown(row.provider, at):
        yield f"{row.product} on a day whose holidays are not known: priced as a working day"


def _row_notes(rate: _Rate, counts: Counts, record: UsageRecord) -> Iterator[str]:
    """Yield what a reader of amounts at a row's prices would not expect."""
    row = rate.row
    yield from rate.notes
    if (tier := tier_text(row)) and row.min_input_tokens:
        yield f"{row.product} at the price of inputs {tier}"
    if row.hit is None and counts.hit:
        yield f"{row.product} has no hit price listed: hits billed as misses"
    if row.storage and (counts.hit or counts.write):
        yield f"{row.product}: keeping a cache costs {row.storage:g} {row.currency} per million and hour, not counted"
    if row.write_long is None and counts.write_long:
        yield f"{row.product} has no price listed for the longer lifetime: written tokens billed as {_write_name(row)}"
    if rate.name != row.product:
        yield f"{rate.name} is billed as {row.product}"
    if row.valid_to is None and record.moment.date() > row.date:
        yield f"{row.product} at the price read on {row.date}; later changes unknown"
    if record.host and row.host_of is None and not _is_maker(record.host, row):
        yield f"{row.product} at {row.provider}'s own list, though served by {record.host!r}"


def _write_name(row: PriceRow) -> str:
    return "misses" if row.write is None else "of the shorter one"


def _is_maker(host: str, row: PriceRow) -> bool:
    makers = {row.provider.lower(), row.product.partition("-")[0]}
    return any(maker in host.lower() or host.lower() in maker for maker in makers)
