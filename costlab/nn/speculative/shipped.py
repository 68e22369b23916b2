"""The shipped models at work: a method by its name, and what it gains on this machine.

>>> shown = continued("def main(", "lookup", tokens=30, timed=False)
>>> len(shown.generation.tokens), shown.speedup
(30, None)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from time import perf_counter

from costlab.checks import pick
from costlab.nn.speculative.decoding import Generation, generate_texts
from costlab.nn.speculative.drafts import ModelDraft, MTPDraft, NoDraft, Proposer, TreeDraft
from costlab.nn.speculative.family import Family, load_family
from costlab.nn.speculative.lookups import LookupDraft, TableDraft
from costlab.nn.speculative.ngram import NGrams
from costlab.nn.speculative.runners import ByteRunner
from costlab.nn.speculative.text import training_text
from costlab.nn.threads import one_thread

TIMED_ROUNDS = 3  # in which drafted and plain decoding take turns
TABLE_ORDER = 5  # bytes of an n-gram


@cache
def shipped_table() -> NGrams:
    """Return n-grams counted from the running Python's own library, which takes a second; kept for the next call."""
    return NGrams(training_text(), TABLE_ORDER)


#: What makes each method from the shipped models and a length; trees have this many levels, the first three wide.
METHODS: Mapping[str, Callable[[Family, int], Proposer]] = {
    "plain": lambda family, length: NoDraft(),
    "draft": lambda family, length: ModelDraft(ByteRunner(family.draft), length),
    "mtp": lambda family, length: MTPDraft(family.mtp, length),
    "lookup": lambda family, length: LookupDraft(length),
    "ngram": lambda family, length: TableDraft(shipped_table(), length),
    "tree": lambda family, length: TreeDraft(ByteRunner(family.draft), (3, 2, *[1] * length)[:length]),
}
#: Tokens that each drafts where nothing else is said.
LENGTHS: Mapping[str, int] = {"plain": 0, "draft": 3, "mtp": 3, "lookup": 7, "ngram": 5, "tree": 3}


def proposer(method: str, length: int | None = None, family: Family | None = None) -> Proposer:
    """Return what drafts for the shipped target.

    Args:
        method: of `METHODS`.
        length: tokens to draft in a round; None: the method's own.
        family: the models, if they are loaded already.

    Raises:
        ValueError: an unknown method, or a length that it does not take.
    """
    make = pick(METHODS, method, "method")
    if length == 0 and method != "plain":
        raise ValueError(f"length = 0 drafts nothing: method {method!r} takes at least 1")
    return make(family or load_family(), LENGTHS[method] if length is None else length)


@dataclass(frozen=True)
class Continued:
    """A text that the shipped target wrote, and how long its tokens took."""

    generation: Generation  # the text, and what was counted
    token_s: float | None  # seconds a token, on this machine; None: not timed
    plain_token_s: float | None  # the same of plain decoding, in turns with it

    @property
    def speedup(self) -> float | None:
        """Tokens a second by those of plain decoding; None: not timed."""
        return None if self.token_s is None or self.plain_token_s is None else self.plain_token_s / self.token_s


def continued(
    prompt: str,
    method: str = "draft",
    length: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    tokens: int = 100,
    timed: bool = True,
) -> Continued:
    """Let the shipped target go on with a prompt, and time it in turns with plain decoding.

    Args:
        prompt: a text; the models know Python's library.
        method: of `METHODS`.
        length: tokens to draft in a round; None: the method's own.
        temperature: 0 takes the likeliest byte.
        seed: of all random numbers.
        tokens: bytes to write at most.
        timed: whether to take the time; the shortest of several counts.

    Raises:
        ValueError: an unknown method, or what `generate_texts` refuses.
    """
    family = load_family()
    target, draft = ByteRunner(family.target), proposer(method, length, family)

    def run(how: Proposer) -> tuple[Generation, float]:
        start = perf_counter()
        (found,) = generate_texts(target, [prompt], how, tokens=tokens, temperature=temperature, seed=seed)
        return found, (perf_counter() - start) / len(found.tokens)

    with one_thread():
        generation, _ = run(draft)
        if not timed:
            return Continued(generation, None, None)
        seconds = [(run(draft)[1], run(NoDraft())[1]) for _ in range(TIMED_ROUNDS)]
    token_s, plain_token_s = (min(each) for each in zip(*seconds, strict=True))
    return Continued(generation, token_s, plain_token_s)
