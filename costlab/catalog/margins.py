"""What margins.toml holds: what companies and others have said in public about margins, break-even and utilisation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

#: What was divided by what, from the narrowest count of costs to the widest. A figure means little without it.
MarginCount = Literal[
    "chips rented for the service",  # nothing but the rent of the chips that serve
    "inference for paying users",  # compute of paid use; free use and training left out
    "inference",  # the infrastructure that serves, as far as the source says
    "cloud and API business",  # cost of sales of that segment, by the company's books
    "software on customers' machines",  # cost of sales of that segment
    "company",  # cost of sales of all segments, by the company's books
    "not said",  # by the source
    "subscriptions",  # list value of what a subscriber may use over what the subscription costs
]

#: Who vouches for a figure.
MarginBasis = Literal[
    "audited accounts",  # printed in a prospectus or in annual accounts
    "reported",  # from accounts, through somebody else's report
    "papers for investors",  # not public, as a newspaper reports them
    "company's own word",  # neither audited nor open to a check
    "theoretical",  # of a company about itself, with a revenue that it did not have
    "model of a third party",  # computed from outside
]


@dataclass(frozen=True)
class MarginStatement:
    """One public statement about what is left of the money that tokens bring, by what it counts as cost."""

    who: str  # whose margin
    says: str  # the statement, in our words
    counts: MarginCount  # which costs are counted
    basis: MarginBasis  # who vouches for it
    period: str  # of what time
    # how good our evidence is: "A" the maker's page or two sources that agree, "B" one such, "C" one weak source
    mark: Literal["A", "B", "C"]
    source: str  # where it stands
    date: date  # day of the statement; the first of the month where only that is known
    margin: float | None = None  # share of the revenue that is left; None where the statement is no share
    low: float | None = None  # least that it names
    high: float | None = None  # most that it names
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        shares = [share for share in (self.low, self.margin, self.high) if share is not None]
        if shares != sorted(shares) or any(share >= 1 for share in shares):
            raise ValueError(f"low, margin and high = {shares} should rise and stay below 1, the whole revenue")
