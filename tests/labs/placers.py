"""Sensible ways to place experts: two ways to share out copies, three to fill slots. None is the lab's own."""

from collections.abc import Callable

import numpy as np


def to_the_neediest(loads: np.ndarray, redundant: int) -> np.ndarray:
    """One further copy after the other, to the highest load per copy."""
    copies = np.ones(len(loads), dtype=int)
    for _ in range(redundant):
        copies[np.argmax(loads / copies)] += 1
    return copies


def in_proportion(loads: np.ndarray, redundant: int) -> np.ndarray:
    """As many copies as the load's share of all slots, rounded, and then mended."""
    slots = len(loads) + redundant
    copies = np.maximum(1, np.round(loads / loads.sum() * slots)).astype(int)
    while copies.sum() > slots:
        copies[np.argmin(np.where(copies > 1, loads / copies, np.inf))] -= 1
    while copies.sum() < slots:
        copies[np.argmax(loads / copies)] += 1
    return copies


def heaviest_first(line: list[int], each: np.ndarray, ranks: int) -> np.ndarray:
    """Each copy to the lightest rank that has room."""
    room, slots, carried = len(line) // ranks, [[] for _ in range(ranks)], np.zeros(ranks)
    for expert in line:
        rank = min((r for r in range(ranks) if len(slots[r]) < room), key=lambda r: carried[r])
        slots[rank].append(expert)
        carried[rank] += each[expert]
    return np.array(slots)


def to_and_fro(line: list[int], each: np.ndarray, ranks: int) -> np.ndarray:
    """Row by row, every second one backwards."""
    rows = np.reshape(line, (-1, ranks))
    rows[1::2] = rows[1::2, ::-1]
    return rows.T


def largest_with_smallest(line: list[int], each: np.ndarray, ranks: int) -> np.ndarray:
    """Each rank takes from both ends in turn."""
    left, room = list(line), len(line) // ranks
    return np.array([[left.pop(0 if i % 2 == 0 else -1) for i in range(room)] for _ in range(ranks)])


def way(share: Callable[..., np.ndarray], fill: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A placement of these two steps."""

    def place(loads: np.ndarray, ranks: int, redundant: int) -> np.ndarray:
        copies = share(loads, redundant)
        each = loads / copies
        line = sorted(np.repeat(np.arange(len(loads)), copies).tolist(), key=lambda expert: -each[expert])
        return fill(line, each, ranks)

    return place


WAYS = {
    f"{share.__name__}, {fill.__name__}": way(share, fill)
    for share in (to_the_neediest, in_proportion)
    for fill in (heaviest_first, to_and_fro, largest_with_smallest)
}
