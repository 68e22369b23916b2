"""Trees of drafted tokens: their tokens against enumeration, the best of them against all trees there are."""

import functools
import heapq
import itertools
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.speculative import acceptance, residual, theory, trees, walk
from costlab.speculative.trees import Tree

SHARES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4).map(lambda c: trees.rank_shares(c).tolist())


@functools.cache
def forests(nodes):
    """Every ordered forest of so many nodes, each a tuple of the forests below its roots."""
    if nodes == 0:
        return ((),)
    return tuple(
        (below, *others) for size in range(nodes) for below in forests(size) for others in forests(nodes - 1 - size)
    )


def paths(forest, above=()):
    for rank, below in enumerate(forest):
        yield (*above, rank)
        yield from paths(below, (*above, rank))


def tree_of(forest):
    return Tree.of_paths(paths(forest))


def enumerated(tree, conditional, node=-1):
    """Mean tokens from trying each child in turn: accepted, the walk goes on below it; all rejected, it ends."""
    mean, left = 0.0, 1.0
    for rank, child in enumerate(tree.children(node)):
        mean += left * conditional[rank] * enumerated(tree, conditional, child)
        left *= 1 - conditional[rank]
    return 1.0 + mean


# --- a tree ----------------------------------------------------------------------------------------------------


def test_there_are_catalans_forests():
    assert [len(forests(n)) for n in range(7)] == [1, 1, 2, 5, 14, 42, 132]


def test_a_trees_parts():
    tree = Tree((-1, 0, 0, -1, 3, 4))
    assert len(tree) == 6
    assert tree.depths == (1, 2, 2, 1, 2, 3)
    assert tree.ranks == (0, 0, 1, 1, 0, 0)
    assert tree.depth == 3
    assert tree.children(-1) == (0, 3)
    assert tree.children(0) == (1, 2)
    assert tree.children(5) == ()
    assert tree.path(5) == (3, 4, 5)
    assert tree.path(-1) == ()
    assert Tree(()).depth == 0
    assert Tree.chain(3) == Tree((-1, 0, 1))
    assert Tree.chain(0) == Tree(())


@pytest.mark.parametrize("forest", [f for n in range(6) for f in forests(n)])
def test_a_node_sees_its_path_and_nothing_else(forest):
    tree = tree_of(forest)
    for node in range(len(tree)):
        assert np.flatnonzero(tree.sees[node]).tolist() == list(tree.path(node))
        assert len(tree.path(node)) == tree.depths[node]


def test_medusas_way_of_writing_a_tree():
    """medusa_choices.py names each node by the ranks on its path, in any order."""
    tree = Tree.of_paths([(0, 0), (0,), (1,), (0, 1), (2,), (1, 0), (0, 0, 0)])
    assert tree.parents == (-1, -1, -1, 0, 0, 1, 3)
    assert tree.ranks == (0, 1, 2, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Tree((0,)), "parent 0 of node 0 should be -1 or a node before it"),
        (lambda: Tree((-1, -2)), "parent -2 of node 1"),
        (lambda: Tree((-1, 1)), "parent 1 of node 1"),
        (lambda: Tree((-1, 0.5)), "parent = 0.5 should be a whole number"),
        (lambda: Tree.of_paths([(1,)]), r"path \(1,\) should have its parent and its elder sibling"),
        (lambda: Tree.of_paths([(0,), (1, 0)]), r"path \(1, 0\)"),
        (lambda: Tree.of_paths([(0,), (0,)]), "each come once"),
        (lambda: Tree.of_paths([()]), r"path \(\)"),
        (lambda: Tree.of_paths([(-1,)]), r"path \(-1,\)"),
        (lambda: trees.rank_shares([0.5, 1.5]), r"conditional = \[0.5, 1.5\]"),
        (lambda: trees.rank_shares(0.5), "conditional = 0.5"),
        (lambda: trees.tree_tokens(Tree.chain(2), [0.8, 0.3]), "sum to at most 1"),
        (lambda: trees.tree_tokens(Tree.chain(2), [-0.1]), "at least 0"),
        (lambda: trees.tree_tokens(Tree.chain(2), [[0.8]]), "shares end at depth 1, the tree has 2"),
        (lambda: trees.tree_tokens(Tree((-1, -1)), [0.8]), "shares end at 1 children"),
        (lambda: trees.tree_tokens(Tree.chain(2), 0.8), r"shares of shape \(\)"),
        (lambda: trees.tree_tokens(Tree.chain(2), [math.nan]), "at least 0"),
        (lambda: trees.best_tree([0.8], -1, 2), "nodes = -1 should be at least 0"),
        (lambda: trees.best_tree([0.8], 3, -2), "depth = -2 should be at least 0"),
        (lambda: trees.best_tree([0.8], 3.5, 2), "nodes = 3.5 should be a whole number"),
        (lambda: trees.fastest_tree([0.8], 3, 2, -0.1), "draft_cost = -0.1"),
        (lambda: trees.fastest_tree([0.8], 3, 2, 0.1, [1.0, 1.1]), "verify_cost ends at 2 rows"),
    ],
)
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# --- its tokens ------------------------------------------------------------------------------------------------


def test_shares_of_the_ranks():
    """Accepted with .6, else .5, else 1: .6, .2 and .2 of all."""
    assert trees.rank_shares([0.6, 0.5, 1.0]) == pytest.approx([0.6, 0.2, 0.2])
    assert trees.rank_shares([[0.6, 0.5], [1.0, 0.5]]) == pytest.approx(np.array([[0.6, 0.2], [1.0, 0.0]]))


@settings(max_examples=examples(40))
@given(
    st.integers(0, 6).flatmap(lambda n: st.sampled_from(forests(n))), st.lists(st.floats(0, 1), min_size=6, max_size=6)
)
def test_tokens_of_a_tree_are_enumerated(forest, conditional):
    tree = tree_of(forest)
    found = trees.tree_tokens(tree, trees.rank_shares(conditional))
    assert found == pytest.approx(enumerated(tree, conditional))
    assert 1 <= found <= tree.depth + 1 + 1e-12


@settings(max_examples=examples(40))
@given(st.lists(st.floats(0, 1), min_size=0, max_size=8))
def test_a_chain_is_what_the_theory_says(acceptances):
    chain = Tree.chain(len(acceptances))
    shares = np.array(acceptances)[:, None]
    assert trees.tree_tokens(chain, shares) == pytest.approx(theory.expected_tokens(acceptances))
    assert trees.node_survival(chain, shares) == pytest.approx(theory.survival(acceptances))


def test_shares_may_differ_by_depth():
    tree = Tree((-1, -1, 0, 1))
    assert trees.tree_tokens(tree, [[0.5, 0.3], [0.4, 0.2]]) == pytest.approx(1 + 0.5 + 0.3 + 0.5 * 0.4 + 0.3 * 0.4)


def test_walks_down_a_tree_yield_these_tokens():
    """4,000 walks with independent candidates: what is accepted after a refusal is the residual's overlap."""
    rng, tree = np.random.default_rng(2), Tree((-1, -1, 0, 0, 1, 2))
    p, q = rng.dirichlet(np.full(8, 0.5), 2)
    first = acceptance(p, q)
    shares = trees.rank_shares([first, acceptance(residual(p, q), q)])
    laws, targets = np.tile(q, (len(tree), 1)), np.tile(p, (len(tree) + 1, 1))
    tokens = [len(walk(rng.choice(8, len(tree), p=q), tree.parents, laws, targets, rng).tokens) for _ in range(4000)]
    assert abs(np.mean(tokens) - trees.tree_tokens(tree, shares)) < 5 * np.std(tokens) / math.sqrt(4000)
    assert np.mean(tokens) > theory.expected_tokens(float(first), 3)  # a chain of that depth


# --- the best tree ---------------------------------------------------------------------------------------------


def best_by_force(shares, nodes, depth, value):
    """The best of all trees within the limits; shares [ranks] or [depths, ranks]."""
    ranks = np.asarray(shares).shape[-1]
    every = (tree_of(forest) for n in range(nodes + 1) for forest in forests(n))
    return max(value(tree) for tree in every if tree.depth <= depth and max(tree.ranks, default=0) < ranks)


@settings(max_examples=examples(30), deadline=None)
@given(SHARES, st.integers(0, 6), st.integers(0, 4))
def test_no_tree_is_better(shares, nodes, depth):
    found = trees.best_tree(shares, nodes, depth)
    assert len(found) <= nodes
    assert found.depth <= depth
    best = best_by_force(shares, nodes, depth, lambda tree: trees.tree_tokens(tree, shares))
    assert trees.tree_tokens(found, shares) == pytest.approx(best, abs=1e-12)


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3), min_size=3, max_size=3), st.integers(1, 6))
def test_no_tree_is_better_where_shares_differ_by_depth(conditional, nodes):
    """Ranks in any order: a rank that is worth less may stand before one that is worth more."""
    shares = trees.rank_shares(conditional)
    found = trees.best_tree(shares, nodes, 3)
    best = best_by_force(shares, nodes, 3, lambda tree: trees.tree_tokens(tree, shares))
    assert trees.tree_tokens(found, shares) == pytest.approx(best, abs=1e-12)


def greedy(shares, nodes):
    """Take the likeliest node whose parent and elder sibling are taken: best where shares fall with the rank."""
    taken, open_nodes = [], [(-shares[0], (0,))]
    while len(taken) < nodes:
        chance, path = heapq.heappop(open_nodes)
        taken.append(path)
        heapq.heappush(open_nodes, (chance * shares[0], (*path, 0)))
        if path[-1] + 1 < len(shares):
            other = chance / shares[path[-1]] * shares[path[-1] + 1]
            heapq.heappush(open_nodes, (other, (*path[:-1], path[-1] + 1)))
    return Tree.of_paths(taken)


@pytest.mark.parametrize("nodes", [8, 24, 60])
def test_a_large_tree_is_that_of_the_greedy_choice(nodes):
    """60 nodes, as EAGLE-3 checks: out of reach of brute force, but not of another algorithm."""
    shares = trees.rank_shares([0.6, 0.35, 0.2, 0.15])
    found, other = trees.best_tree(shares, nodes, 12), greedy(shares.tolist(), nodes)
    assert other.depth <= 12
    assert len(found) == nodes
    assert trees.tree_tokens(found, shares) == pytest.approx(trees.tree_tokens(other, shares), rel=1e-12)


def test_nodes_that_add_nothing_are_left_out():
    assert trees.best_tree([0.0, 0.0], 5, 3) == Tree(())
    assert trees.best_tree([1.0, 0.0], 5, 3) == Tree.chain(3)
    assert trees.best_tree([0.5, 0.5], 0, 3) == Tree(())
    assert trees.best_tree([0.5, 0.5], 5, 0) == Tree(())


@settings(max_examples=examples(25), deadline=None)
@given(SHARES, st.floats(0.0, 0.5), st.lists(st.floats(0.0, 0.5), min_size=5, max_size=5))
def test_no_tree_is_faster(shares, draft, steps):
    rows = [1.0, *(1 + np.cumsum(steps))]

    def gain(tree):
        return trees.tree_tokens(tree, shares) / (tree.depth * draft + rows[len(tree)])

    found = trees.fastest_tree(shares, 5, 4, draft, rows)
    best = best_by_force(shares, 5, 4, gain)
    assert gain(found) == pytest.approx(best, abs=1e-12)
    assert trees.tree_cost(found, draft, rows) == pytest.approx(found.depth * draft + rows[len(found)])


def test_rows_that_cost_make_the_tree_smaller():
    shares = trees.rank_shares([0.6, 0.35, 0.2])
    sizes = [
        len(trees.fastest_tree(shares, 24, 6, 0.05, lambda rows, c=c: 1 + c * (rows - 1))) for c in (0, 0.01, 0.05, 1)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 24
    assert sizes[-1] == 0


def test_a_tree_beats_the_chain_of_as_many_nodes():
    shares = trees.rank_shares([0.6, 0.4])
    tree = trees.best_tree(shares, 6, 6)
    assert trees.tree_tokens(tree, shares) > trees.tree_tokens(Tree.chain(6), shares) + 0.1


def test_every_ordered_forest_is_one_tree():
    found = [tree_of(forest).parents for forest in itertools.chain.from_iterable(map(forests, range(6)))]
    assert len(set(found)) == len(found)
