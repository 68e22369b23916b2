"""Token trees: several candidates at a position, all checked in one pass; their tokens per pass, and the best tree.

A tree's nodes are drafted tokens. The root is the last token emitted: it is no node, but a row of the pass, as in a
chain. Node i hangs from `parents[i]`, which comes before it, or from the root where that is -1. Children of one parent
are tried in order; at most one is accepted.

>>> from costlab.speculative import trees
>>> tree = trees.Tree((-1, -1, 0))
>>> tree.depths, tree.ranks
((1, 1, 2), (0, 1, 0))
>>> round(trees.tree_tokens(tree, (0.6, 0.2)), 2)
2.16

Chapter: speculative
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.checks import whole
from costlab.speculative.theory import Cost, pass_cost, round_cost


@dataclass(frozen=True)
class Tree:
    """A tree of drafted tokens."""

    parents: tuple[int, ...]  # of each node the node before it that it hangs from, -1 for the root

    def __post_init__(self) -> None:
        for node, parent in enumerate(self.parents):
            if not -1 <= whole(parent, "parent") < node:
                raise ValueError(f"parent {parent} of node {node} should be -1 or a node before it")

    @classmethod
    def chain(cls, length: int) -> Tree:
        """Return the tree without branches: one candidate at each position."""
        return cls(tuple(range(-1, length - 1)))

    @classmethod
    def of_paths(cls, paths: Iterable[tuple[int, ...]]) -> Tree:
        """Return the tree of nodes named by their path of ranks from the root, as Medusa writes them: (0,), (0, 1), …

        Nodes come level by level, in the order of their ranks.

        Raises:
            ValueError: a path whose parent or elder sibling is missing, or that comes twice.
        """
        order = sorted(paths, key=lambda path: (len(path), path))
        places = {path: node for node, path in enumerate(order)}
        if len(places) < len(order):
            raise ValueError(f"paths {order} should each come once")
        for path in order:
            elder = (*path[:-1], path[-1] - 1) if path and path[-1] else path[:-1]
            if not path or min(path) < 0 or (elder and elder not in places):
                raise ValueError(f"path {path} should have its parent and its elder sibling among the paths")
        return cls(tuple(places.get(path[:-1], -1) for path in order))

    def __len__(self) -> int:
        return len(self.parents)

    @functools.cached_property
    def depths(self) -> tuple[int, ...]:
        """Position of each node behind the root: 1 for the root's children."""
        found: list[int] = []
        for parent in self.parents:
            found.append(found[parent] + 1 if parent >= 0 else 1)
        return tuple(found)

    @functools.cached_property
    def ranks(self) -> tuple[int, ...]:
        """Place of each node among its siblings, in the order in which they are tried: 0 for the first."""
        return tuple(self.parents[:node].count(parent) for node, parent in enumerate(self.parents))

    @property
    def depth(self) -> int:
        """Nodes of the longest path; 0 of a tree without nodes."""
        return max(self.depths, default=0)

    def children(self, node: int) -> tuple[int, ...]:
        """Return the nodes that hang from a node, -1 for the root, in the order in which they are tried."""
        return tuple(child for child, parent in enumerate(self.parents) if parent == node)

    def path(self, node: int) -> tuple[int, ...]:
        """Return the nodes from the root's child down to a node, itself among them; () for the root, -1."""
        return (*self.path(self.parents[node]), node) if node >= 0 else ()

    @functools.cached_property
    def sees(self) -> Bools:
        """Which nodes each node attends to: its ancestors and itself, [nodes, nodes]; all attend to the root."""
        mask = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                mask[node] |= mask[parent]
        return mask


# --- tokens of a tree ------------------------------------------------------------------------------------------


def rank_shares(conditional: ArrayLike) -> Floats:
    """Return for each rank the probability that this child is the one accepted, given that its parent was.

    Args:
        conditional: for each rank the probability that this child is accepted, given that its elder siblings were
            rejected: last axis.

    Raises:
        ValueError: a probability outside 0 to 1.
    """
    found = np.asarray(conditional, dtype=np.float64)
    if not found.ndim or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"conditional = {conditional!r} should be probabilities between 0 and 1, one for each rank")
    rejected = np.cumprod(1 - found, axis=-1)
    return np.asarray(found * np.concatenate([np.ones_like(found[..., :1]), rejected[..., :-1]], axis=-1))


def node_survival(tree: Tree, shares: ArrayLike) -> Floats:
    """Return for each node the probability that its token is emitted: the product of the shares on its path.

    Args:
        tree: whose nodes.
        shares: probability that the child of a rank is the one accepted, given that its parent was, as `rank_shares`
            returns it: [ranks] for all depths, or [depths, ranks].

    Returns:
        [nodes].

    Raises:
        ValueError: shares that are no probabilities, that sum to more than 1, or that end before the tree does.
    """
    table = _shares(shares, tree.depth)
    found = np.ones(len(tree))
    for node, (parent, depth, rank) in enumerate(zip(tree.parents, tree.depths, tree.ranks, strict=True)):
        if rank >= table.shape[1]:
            raise ValueError(f"shares end at {table.shape[1]} children of a node, the tree has more")
        found[node] = table[depth - 1, rank] * (found[parent] if parent >= 0 else 1.0)
    return found


def tree_tokens(tree: Tree, shares: ArrayLike) -> float:
    """Return the mean number of tokens that a round with this tree emits, the target's own among them.

    Args:
        tree: of drafted tokens.
        shares: as in `node_survival`.

    Raises:
        ValueError: as `node_survival`.

    Source: Sequoia, arXiv 2402.12374, proposition 3.4.
    """
    return 1.0 + float(node_survival(tree, shares).sum())


def _shares(shares: ArrayLike, depth: int) -> Floats:
    """Return shares as [depth, ranks], checked."""
    table = np.asarray(shares, dtype=np.float64)
    if table.ndim not in (1, 2):
        raise ValueError(f"shares of shape {table.shape} should be [ranks] or [depths, ranks]")
    if not ((table >= 0).all() and (table.sum(axis=-1) <= 1 + 1e-9).all()):
        raise ValueError(f"shares {table.tolist()} should be at least 0 and sum to at most 1: one child is accepted")
    if table.ndim == 1:
        return np.broadcast_to(table, (depth, table.size))
    if depth > len(table):
        raise ValueError(f"shares end at depth {len(table)}, the tree has {depth}")
    return table[:depth]


# --- the best tree ---------------------------------------------------------------------------------------------


def best_tree(shares: ArrayLike, nodes: int, depth: int) -> Tree:
    """Return the tree with the most expected tokens of at most so many nodes and levels, by dynamic programming.

    A node that adds nothing is left out.

    Args:
        shares: as in `node_survival`.
        nodes: drafted tokens at most.
        depth: levels at most; each is one step of the drafter.

    Raises:
        ValueError: shares as in `node_survival`; negative nodes or depth.

    Source: Sequoia, arXiv 2402.12374, sec. 3.2; its tree_search.py counts the root among the nodes.
    """
    return _tree(_plan(_shares(shares, _count(depth, "depth")), _count(nodes, "nodes")), nodes)


def fastest_tree(shares: ArrayLike, nodes: int, depth: int, draft_cost: float, verify_cost: Cost = 1.0) -> Tree:
    """Return the tree with the most tokens per cost of a round: a draft step for each level, and the target's pass.

    Args:
        shares: as in `node_survival`.
        nodes: drafted tokens at most.
        depth: levels at most.
        draft_cost: of drafting one level, in plain steps.
        verify_cost: of the target's pass over nodes + 1 rows, in plain steps, as in `theory.round_cost`.

    Raises:
        ValueError: as `best_tree` and `theory.round_cost`.

    Source: Sequoia, arXiv 2402.12374, sec. 3.3.
    """
    best, most = Tree(()), 1.0
    for levels in range(1, _count(depth, "depth") + 1):
        plan = _plan(_shares(shares, levels), _count(nodes, "nodes"))
        for size in range(1, nodes + 1):
            tree = _tree(plan, size)
            gain = tree_tokens(tree, shares) / tree_cost(tree, draft_cost, verify_cost)
            if gain > most:
                best, most = tree, gain
    return best


def tree_cost(tree: Tree, draft_cost: float, verify_cost: Cost = 1.0) -> float:
    """Return what a round with a tree costs, in plain steps: its depth in draft steps, and a pass over its rows.

    Args:
        tree: of drafted tokens.
        draft_cost: of drafting one level, in plain steps.
        verify_cost: of the target's pass over nodes + 1 rows, in plain steps, as in `theory.round_cost`.

    Raises:
        ValueError: as `theory.round_cost`.
    """
    levels = round_cost(tree.depth, draft_cost) - 1.0
    return levels + (pass_cost(verify_cost, len(tree) + 1) if len(tree) else 1.0)


@dataclass(frozen=True, eq=False)
class _Level:
    """How nodes below an accepted node are best spent, for each number of nodes."""

    tokens: Floats  # most tokens below an accepted node, by nodes to spend there
    children: Ints  # how many children it then has, by nodes
    sizes: Ints  # nodes of the youngest of b children's subtrees, itself among them, [children + 1, nodes + 1]


def _plan(table: Floats, nodes: int) -> list[_Level]:
    """Plan each level from the deepest up; the last entry of the list is a level without room."""
    plan = [_Level(np.zeros(nodes + 1), np.zeros(nodes + 1, dtype=np.int64), np.zeros((1, nodes + 1), dtype=np.int64))]
    for row in table[::-1]:
        plan.insert(0, _level(row, plan[0].tokens, nodes))
    return plan


def _level(row: Floats, below: Floats, nodes: int) -> _Level:
    """Spend n nodes on the children of an accepted node: the youngest gets y of them, its elders the rest."""
    tokens = np.full((row.size + 1, nodes + 1), -np.inf)
    tokens[0] = 0.0
    sizes = np.zeros((row.size + 1, nodes + 1), dtype=np.int64)
    for b, share in enumerate(row.tolist(), 1):
        youngest = share * (1 + below)  # [nodes], of y = 1, 2, … nodes
        for n in range(b, nodes + 1):
            total = tokens[b - 1, n - 1 :: -1] + youngest[:n]
            sizes[b, n] = 1 + total.argmax()
            tokens[b, n] = total.max()
    return _Level(tokens.max(axis=0), tokens.argmax(axis=0), sizes)


def _tree(plan: list[_Level], nodes: int) -> Tree:
    return Tree.of_paths(_paths(plan, nodes, ()))


def _paths(plan: list[_Level], nodes: int, path: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    level = plan[len(path)]
    for b in range(int(level.children[nodes]), 0, -1):
        size = int(level.sizes[b, nodes])
        yield (*path, b - 1)
        yield from _paths(plan, size - 1, (*path, b - 1))
        nodes -= size


def _count(value: object, what: str) -> int:
    found = whole(value, what)
    if found < 0:
        raise ValueError(f"{what} = {value!r} should be at least 0")
    return found
