"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, a module per lever with one short
function per claim (`moe`, `attention`, `hybrid`, `tiers`, `speculative`, `serving`, `chips`, `prices`) and the ledger
that calls them (`ledger`). What the articles print as code is written anew in `articles`, faults and all, so that its
results can be checked; its loop of speculative decoding stands in `costlab.speculative.faulty`, beside the rules that
it breaks.

>>> from costlab import claims
>>> claims.settle("moe-one-thirtieth").verdict, claims.settle("moe-one-thirtieth", times=40).verdict
('holds', 'wrong')

Chapter: moe
"""

from costlab.claims import (  # each registers its settlers
    articles,
    attention,
    chips,
    hybrid,
    moe,
    prices,
    serving,
    speculative,
    tiers,
)
from costlab.claims.ledger import Finding, findings, settle
from costlab.claims.parts import Part, Reading, Verdict, part, reading, verdict_of

__all__ = [
    "Finding", "Part", "Reading", "Verdict", "articles", "attention", "chips", "findings", "hybrid", "moe", "part",
    "prices", "reading", "serving", "settle", "speculative", "tiers", "verdict_of",
]  # fmt: skip
