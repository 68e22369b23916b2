"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, a module per lever with one short
function per claim (`moe`, `attention`, `hybrid`, `tiers`, `speculative`, `serving`, `margins`, `chips`, `prices`,
`levers`) and the ledger that calls them (`ledger`). A claim has one part or several, each a claimed number beside the
computed one with the formula that was run, and its verdict follows from them (`parts`). What the articles print as code
is written anew in `articles`, faults and all, so that its results can be checked; its loop of speculative decoding
stands in `costlab.speculative.faulty`, beside the rules that it breaks.

>>> from costlab import claims
>>> claims.settle("moe-one-thirtieth").verdict, claims.settle("moe-one-thirtieth", times=40).verdict
('reproduced', 'contradicted')

A claim of your own takes a formula and a tolerance:

>>> mine = claims.part("context of V4-Pro", "tokens", 1e6, 'arch.load("deepseek-v4-pro").record.context', 0.05)
>>> claims.verdict_of([mine])
'reproduced'

Chapter: claims
"""

from costlab.claims import (  # each registers its settlers
    articles,
    attention,
    chips,
    hybrid,
    levers,
    margins,
    moe,
    prices,
    serving,
    speculative,
    tiers,
)
from costlab.claims.ledger import (
    VERDICTS,
    Finding,
    as_record,
    findings,
    layer_of,
    most_surprising,
    number_records,
    settle,
)
from costlab.claims.parts import ROOMS, ClaimPart, Reading, Verdict, imports_of, part, reading, value_of, verdict_of

__all__ = [
    "ROOMS",
    "VERDICTS",
    "ClaimPart",
    "Finding",
    "Reading",
    "Verdict",
    "articles",
    "as_record",
    "attention",
    "chips",
    "findings",
    "hybrid",
    "imports_of",
    "layer_of",
    "levers",
    "margins",
    "moe",
    "most_surprising",
    "number_records",
    "part",
    "prices",
    "reading",
    "serving",
    "settle",
    "speculative",
    "tiers",
    "value_of",
    "verdict_of",
]  # fmt: skip
