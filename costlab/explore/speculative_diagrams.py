"""Diagrams of the chapter `speculative`: rounds of draft and verification, row by row.

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costlab import speculative
from costlab.arrays import Floats
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Words, drawn, is_narrow
from costlab.explore.style import COLOURS, colour_key, on

# --- two rounds ------------------------------------------------------------------------------------------------

_WORDS = ("costs", "a", "second", "of", "time", "hardware", "work", "divided", "by", "the", "tokens", "it")
#: What stands before each round, what is drafted, and the chance of each drafted word by draft (q) and target (p).
_ROUNDS = (
    ("costs", ("a", "second", "of", "time"), (0.8, 0.5, 0.9, 0.7), (0.9, 0.4, 0.85, 0.2)),
    ("hardware", ("divided", "by", "the", "tokens"), (0.6, 0.9, 0.7, 0.4), (0.5, 0.95, 0.8, 0.5)),
)
#: The laws of the row that is rejected, and the one row behind the last drafted word of the second round.
_AT_REJECTION = ({"time": 0.7, "work": 0.2, "hardware": 0.1}, {"time": 0.2, "work": 0.3, "hardware": 0.5})
_BONUS = "it"


@dataclass(frozen=True)
class _Row:
    """One row of a target's pass: it reads a token and gives the law of the next one."""

    reads: str  # the token
    drafted: str  # what the draft says comes next; "" behind the last draft
    q: float  # its chance by the draft
    p: float  # its chance by the target
    drawn: float  # the uniform number that decides


@dataclass(frozen=True)
class _Round:
    """One round, and how far the picture has come."""

    rows: tuple[_Row, ...]
    emitted: tuple[str, ...]  # what the round gives
    accepted: int  # drafted words among them
    stage: int  # 1 drafted, 2 read by the target, 3 decided, 4 the rejected word replaced or the bonus drawn


def one_round(seed: int = 2) -> Frames:
    """Draw what one round of speculative decoding does, step by step, and a second round in which all drafts are kept.

    Args:
        seed: of the uniform numbers that decide.

    Raises:
        ValueError: a seed with which the rounds would go another way than the picture's sentences say.
    """
    rng = np.random.default_rng(seed)
    first, second = (_decided(place, rng) for place in (0, 1))
    if (first.emitted[-1], first.accepted, second.accepted) != ("hardware", 3, 4):
        raise ValueError(f"seed {seed} gives {first.emitted} and {second.emitted}; take one that rejects 'time' alone")
    chance = first.rows[3].p / first.rows[3].q
    words = (
        "The draft, a small model, writes four words one after the other. It notes how likely each was: q.",
        "The target reads the last word of the text and all four drafts in one pass of five rows. Each row gives the "
        "law of the word after it, so p of each drafted word is there at once.",
        f"From the top: a word stays if a random number u is below p/q. Three words stay. For the fourth, time, p/q is "
        f"{chance:.2f} and u is {first.rows[3].drawn:.2f}: it goes, and so does the last row, which has read it.",
        "In its place comes one draw from the residual: p - q where that is positive, made to sum to 1. It gives "
        "hardware. Four words have come out of one pass of the target.",
        "In the next round all four stay. The fifth row has read the last of them, so one more word is drawn from its "
        "law, the bonus: five words out of one pass.",
    )
    states = [*(_at(first, stage) for stage in (1, 2, 3, 4)), _at(second, 4)]
    return Frames("What does one round do?", tuple((_table(s), w) for s, w in zip(states, words, strict=True)))


def _at(state: _Round, stage: int) -> _Round:
    return _Round(state.rows, state.emitted, state.accepted, stage)


def _decided(place: int, rng: np.random.Generator) -> _Round:
    """Return one of the two rounds as the rule decides it."""
    before, drafted, q_of, p_of = _ROUNDS[place]
    q, p = (_laws(drafted, chances) for chances in (q_of, p_of))
    bonus = _law({_BONUS: 1.0})
    if not place:  # the row that is rejected has laws of its own
        q[3], p[3] = (_law(chances) for chances in _AT_REJECTION)
    uniforms = np.random.default_rng(rng.integers(2**32))
    shown = np.random.default_rng(0)
    shown.bit_generator.state = uniforms.bit_generator.state
    done = speculative.verify(
        np.array([_WORDS.index(word) for word in drafted]), q, np.vstack([p, bonus]), speculative.Streams(uniforms, rng)
    )
    drawn_numbers = shown.random(len(drafted))
    rows = [
        _Row(*each) for each in zip((before, *drafted[:-1]), drafted, q_of, p_of, drawn_numbers.tolist(), strict=True)
    ]
    rows.append(_Row(drafted[-1], "", 0.0, 0.0, 0.0))
    return _Round(tuple(rows), tuple(_WORDS[int(t)] for t in done.tokens), int(done.accepted), 4)


def _law(chances: Mapping[str, float]) -> Floats:
    """Return chances of words as an array over all words."""
    return np.array([chances.get(word, 0.0) for word in _WORDS])


def _laws(drafted: Sequence[str], chances: Sequence[float]) -> Floats:
    """Return a law for each drafted word: its chance, and the rest for the word "work"."""
    return np.array([_law({"work": 1 - c, word: c}) for word, c in zip(drafted, chances, strict=True)])


@drawn
def _table(state: _Round) -> Words:
    """Draw a round as a table with a row for each row of the target's pass."""
    colour_key([("the draft's", COLOURS["draft"]), ("the target's", COLOURS["target"])])
    wide = not is_narrow()
    reads, drafts, numbers, gives = (0, 118, (252, 302, 352), 404) if wide else (0, 64, (140, 166, 192), 205)
    box = 100 if wide else 54
    parts = [shapes.text(reads, 12, "target reads" if wide else "reads", size=10)]
    parts.append(shapes.text(drafts, 12, "draft says" if wide else "draft", size=10))
    for x, name in zip(numbers, ("q", "p", "u"), strict=True):
        if name == "q" or state.stage > (1 if name == "p" else 2):
            parts.append(shapes.text(x, 12, name, size=10, anchor="middle"))
    if state.stage > 2:
        parts.append(shapes.text(gives, 12, "round gives" if wide else "gives", size=10))
    if state.stage > 1:
        parts.append(
            shapes.box(
                reads - 0, 18, box + 4, 32 * len(state.rows) - 1, "none", edge=COLOURS["target"], line=1.6, round=4
            )
        )
    for place, row in enumerate(state.rows):
        y = 20 + 32 * place
        lost = state.stage > 2 and place > state.accepted
        if not place or state.stage > 1:
            parts += _word(reads + 2, y, box, row.reads, "", faint=lost)
        if row.drafted:
            cut = state.stage > 2 and place >= state.accepted
            parts += _word(drafts, y, box, row.drafted, COLOURS["draft"], cut=cut)
            shown = {1: (row.q,), 2: (row.q, row.p)}.get(state.stage, (row.q, row.p, row.drawn))
            if not lost:
                parts += [
                    shapes.text(x, y + 18, f"{number:.2f}", size=10, anchor="middle")
                    for x, number in zip(numbers, shown, strict=False)
                ]
        if state.stage > 2 and place < state.accepted:
            parts += _word(gives, y, box, state.emitted[place], COLOURS["draft"])
        if state.stage > 3 and place == state.accepted:
            parts += _word(gives, y, box, state.emitted[place], COLOURS["target"])
    height = 20.0 + 32 * len(state.rows)
    if state.stage == 4 and state.accepted < 4:
        parts += _rest(height + 6)
        height += 90
    shapes.diagram("", height + 4, parts)
    return Words(_told(state))


def _told(state: _Round) -> str:
    """Return the picture in words."""
    rows = state.rows[:-1]
    drafts = ", ".join(row.drafted for row in rows)
    text = (
        f"The draft proposes {drafts} after {rows[0].reads}, with q of " + ", ".join(f"{r.q:.2f}" for r in rows) + "."
    )
    if state.stage > 1:
        text += f" The target's pass has {len(state.rows)} rows; p is " + ", ".join(f"{r.p:.2f}" for r in rows) + "."
    if state.stage > 2:
        text += f" {state.accepted} of {len(rows)} drafted words stay."
    if state.stage > 3:
        text += f" The target itself adds {state.emitted[-1]}."
    return text


def _word(
    x: float, y: float, width: float, word: str, colour: str, *, cut: bool = False, faint: bool = False
) -> list[str]:
    """Return a word in a box: filled with its maker's colour, dashed where it is thrown away, empty in the text."""
    if cut or faint:
        edge = COLOURS["dropped"] if cut else COLOURS["other"]
        look = shapes.box(x, y, width, 27, "none", edge=edge, dash="3 2", round=3)
    else:
        look = shapes.box(x, y, width, 27, colour or "none", edge="" if colour else "currentColor", line=0.6, round=3)
    ink = on(colour) if colour and not cut else ""
    return [look, shapes.text(x + width / 2, y + 18, word, size=10, anchor="middle", colour=ink)]


def _rest(top: float) -> list[str]:
    """Return the three words of the rejected row: what the draft and the target give each, and what remains."""
    q, p = (_law(chances) for chances in _AT_REJECTION)
    rest = speculative.residual(p, q)
    names = 70 if not is_narrow() else 58
    scale = (200 if not is_narrow() else 100) / 1.0
    parts = [shapes.text(0, top + 12, "fourth row: q above p, and the law of the word drawn instead", size=10)]
    if is_narrow():
        parts = [shapes.text(0, top + 12, "fourth row: q above p; then redrawn", size=10)]
    for place, word in enumerate(_AT_REJECTION[0]):
        y, at = top + 20 + 22 * place, _WORDS.index(word)
        parts.append(shapes.text(0, y + 13, word, size=10))
        parts.append(shapes.box(names, y + 1, scale * q[at], 7, COLOURS["draft"]))
        parts.append(shapes.box(names, y + 9, scale * p[at], 7, COLOURS["target"]))
        parts.append(shapes.text(shapes.across() - 4, y + 13, f"{rest[at]:.0%}", size=10, anchor="end", bold=True))
    return parts
