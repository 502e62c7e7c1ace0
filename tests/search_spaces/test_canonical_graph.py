"""The canonical form: graphs counted as the tables of combinatorics have them."""

import itertools

import numpy as np
import pytest

from nas.search_spaces.papers.canonical_graph import canonical


def every_dag(count):
    pairs = [(i, j) for j in range(count) for i in range(j)]
    for bits in itertools.product((0, 1), repeat=len(pairs)):
        edges = [pair for pair, bit in zip(pairs, bits, strict=True) if bit]
        yield [("", tuple(i for i, j in edges if j == node)) for node in range(count)]


def shuffled(nodes, rng):
    order = rng.permutation(len(nodes)).tolist()  # new place of each node
    moved = [("", ())] * len(nodes)
    for i, (label, inputs) in enumerate(nodes):
        moved[order[i]] = label, tuple(order[j] for j in inputs)
    return moved


@pytest.mark.parametrize("count, graphs", [(1, 1), (2, 2), (3, 6), (4, 31), (5, 302)])
def test_unlabelled_acyclic_graphs_are_as_many_as_there_are(count, graphs):
    """OEIS A003087."""
    assert len({canonical(nodes, [""]) for nodes in every_dag(count)}) == graphs


def test_the_order_of_the_nodes_does_not_matter():
    rng = np.random.default_rng(0)
    for _ in range(100):
        nodes = [("image", ())]
        for i in range(1, 9):
            inputs = tuple(rng.integers(i, size=rng.integers(1, 3)).tolist())
            nodes.append((("sum", "concat")[len(inputs) > 1], inputs))
        for unordered in ((), ("sum",), ("sum", "concat")):
            assert canonical(nodes, unordered) == canonical(shuffled(nodes, rng), unordered)


def test_the_order_of_the_inputs_matters_where_it_is_said_to():
    first = [("a", ()), ("b", ()), ("join", (0, 1))]
    second = [("a", ()), ("b", ()), ("join", (1, 0))]
    assert canonical(first) != canonical(second)
    assert canonical(first, ["join"]) == canonical(second, ["join"])


def test_who_reads_a_node_tells_it_from_its_like():
    """Two alike; the one that comes first feeds a third, or the other does."""
    fed = [("i", ()), ("c", (0,)), ("c", (0,)), ("c", (1,)), ("o", (1, 2, 3))]
    other = [("i", ()), ("c", (0,)), ("c", (0,)), ("c", (2,)), ("o", (1, 2, 3))]
    assert canonical(fed, ["o"]) == canonical(other, ["o"])
    assert canonical(fed) != canonical(other)


def test_a_node_read_twice_is_not_two_nodes():
    twice = [("i", ()), ("c", (0,)), ("o", (1, 1))]
    two = [("i", ()), ("c", (0,)), ("c", (0,)), ("o", (1, 2))]
    assert canonical(twice, ["o"]) != canonical(two, ["o"])


def test_forty_alike_are_not_tried_in_all_orders():
    nodes = [("i", ()), *[("c", (0,))] * 40, ("o", tuple(range(1, 41)))]
    moved = shuffled(nodes, np.random.default_rng(0))
    assert canonical(nodes, ["o"]) == canonical(moved, ["o"])
