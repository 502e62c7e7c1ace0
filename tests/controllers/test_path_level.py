"""Path-level search: the order of its questions, its tree LSTM, learning and continuing."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.growing.settings import UpdateSettings
from nas.controllers.growing.tree_encoder import ADD, CONCAT_SPLIT, Tree, TreeEncoder
from nas.controllers.path_level import PathLevel
from nas.controllers.policies.settings import EncoderSettings
from nas.core.trial import ConfigError, Trial
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.search_spaces.papers.path_level.space import PathLevelSpace
from tests.contracts.test_controllers import text

SPACE = PathLevelSpace(depth=2, edges=("identity", "conv_1x1"))
UPDATES = UpdateSettings(episode=2, first_baseline="start", entropy_weight=0.01, mean_entropy=False)
TINY = {"updates": UPDATES, "encoder": EncoderSettings(embedding=2, units=3)}


def scripted(policy, answers):
    """The cell that the answers lead to, and the actors in the order of their questions."""
    left, asked = iter(answers), []

    def answer(actor, tree, place):
        asked.append(actor)
        return next(left)

    return policy.grow(answer), asked


def test_questions_are_asked_depth_first_edges_before_what_is_behind_them():
    policy = PathLevel(SPACE, seed=0, **TINY).policy
    # The root: add (1), three branches (1); expand the first (1): concatenate (2), two edges,
    # (1) and (0); the second is not expanded (0), the third is (1): none (0), an edge (1).
    arch, asked = scripted(policy, [1, 1, 1, 2, 1, 0, 0, 1, 0, 1])
    first, rest = ["merge", "add", "expand", "merge"], ["expand", "expand", "merge", "edge"]
    assert asked == [*first, "edge", "edge", *rest]
    chosen = {name: value for name, value in SPACE.decode(arch).items() if value}
    assert chosen.pop("root/merge") == ("add", 3)
    assert chosen.pop("0/merge") == ("concat", 2)
    assert chosen.pop("0/expand") and chosen.pop("2/expand")
    assert chosen.pop("0_0/edge") == chosen.pop("2_0/edge") == "conv_1x1"
    assert set(map(str, chosen.values())) == {"('none', 1)", "identity"}


def test_probabilities_of_all_cells_sum_to_one():
    small = PathLevelSpace(depth=2, add=(2,), concat=(), edges=("identity",))
    policy = PathLevel(small, seed=1, **TINY).policy
    # The root merges one branch (none) or two; behind a branch is nothing, or such a node.
    node = [[0], [1, 0], [1, 1]]
    cells = [[0, *a] for a in node] + [[1, *a, *b] for a in node for b in node]

    def actions(cell):
        """The actions of a cell: those of edges, which have one choice, are inserted."""
        found, expands = [], iter(cell[1:])
        found.append([cell[0]])
        for expand in expands:
            found.append([expand])
            if expand:
                merge = next(expands)
                found += [[merge]] + [[0]] * (1 + merge)
        return found

    total = sum(np.exp(float(policy.score(actions(cell))[0])) for cell in cells)
    assert len(cells) == small.size == 12
    assert total == pytest.approx(1, abs=1e-5)


def encoder(units=2):
    def weight(start):
        return tf.Variable(start.astype(np.float32))

    rng, sizes = np.random.default_rng(0), {"depth": 2, "most": 3, "embedding": 3}
    return TreeEncoder(weight, rng, operations=2, units=units, **sizes)


def read(encoder, tree, place):
    index = np.array([tree.index(place)], np.int32)
    return encoder(tree.edges[None], tree.kinds[None], index).numpy()[0]


def test_a_child_sum_has_no_order_and_an_n_ary_node_has():
    reader = encoder()
    for kind, alike in ((ADD, True), (CONCAT_SPLIT, False)):
        found = []
        for edges in ((2, 3), (3, 2)):
            tree = Tree(2, 3)
            tree.branch((), 2, 1)
            tree.kinds[1] = kind
            for i, edge in enumerate(edges):
                tree.edges[tree.index((0, i))] = edge
            found.append(read(reader, tree, (0,)))
        assert np.allclose(*found) == alike


def test_a_branch_sees_its_siblings_from_above():
    reader, found = encoder(), []
    for edge in (2, 3):
        tree = Tree(2, 3)
        tree.branch((), 2, 2)
        tree.kinds[0], tree.edges[2] = ADD, edge
        found.append(read(reader, tree, (0,)))
    np.testing.assert_array_equal(found[0][:2], found[1][:2])  # from below
    assert np.abs(found[0][2:] - found[1][2:]).max() > 1e-4


def test_many_trees_are_read_as_each_alone():
    policy, rng = PathLevel(PathLevelSpace(), seed=0, **TINY).policy, np.random.default_rng(0)
    seen = []
    policy.grow(lambda actor, tree, place: _noted(seen, actor, tree, place, rng))
    edges, kinds, places = (np.array(part) for part in zip(*seen, strict=True))
    together = policy.encoder(edges, kinds, places.astype(np.int32)).numpy()
    for i in (0, len(seen) // 2, len(seen) - 1):
        row = slice(i, i + 1)
        alone = policy.encoder(edges[row], kinds[row], places[row].astype(np.int32)).numpy()
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


def _noted(seen, actor, tree, place, rng):
    seen.append((tree.edges.copy(), tree.kinds.copy(), place))
    return 1 if actor in ("merge", "expand") else int(rng.integers(2))


def test_a_child_sum_by_hand():
    reader = encoder(units=1)
    x = reader.kinds.numpy()[ADD - 1] @ reader.up_input[0].numpy() + reader.up_input[1].numpy()
    i, o, u = (x[:3] + 0.6 * reader.up_sum.numpy()[0]).tolist()
    forget = 1 / (1 + np.exp(-(x[3] + 0.3 * reader.up_child.numpy()[0, 0])))
    cell = np.tanh(u) / (1 + np.exp(-i)) + 2 * forget * 0.7
    names = tf.gather(reader.kinds, [[ADD - 1]])
    branches = tuple(tf.constant([[[[v], [v], [0.0]]]]) for v in (0.3, 0.7))
    h, c = (state.numpy().item() for state in reader._merge(tf.constant([[ADD]]), names, branches))
    assert c == pytest.approx(cell, abs=1e-6)
    assert h == pytest.approx(np.tanh(cell) / (1 + np.exp(-o)), abs=1e-6)


# With 9 networks per episode the policy does not learn in this test.
@pytest.mark.parametrize("episode", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_cells_grow_from_the_start_and_a_stopped_search_goes_on_alike(episode):
    def told(controller, first, last):
        seen = []
        for i in range(first, last):
            (proposal,) = controller.ask(1)
            SPACE.check(proposal.arch)
            assert proposal.parent == (0 if i else None)
            seen.append(proposal.arch)
            controller.tell([Trial(i, proposal, 0.1 * i)])
        return seen

    settings = TINY | {"updates": dataclasses.replace(UPDATES, episode=episode)}
    whole = PathLevel(SPACE, seed=0, **settings)
    archs = told(whole, 0, 4)
    assert archs[0] == SPACE.start()
    names = [d.name for d in SPACE.decisions]
    for arch in archs[1:]:  # a node was inserted
        assert any(c for n, c in zip(names, arch, strict=True) if n.endswith("expand"))
    first, again = PathLevel(SPACE, seed=0, **settings), PathLevel(SPACE, seed=0, **settings)
    told(first, 0, 2)
    again.load_state(first.state())
    assert told(again, 2, 4) == archs[2:]
    assert text(again.state()) == text(whole.state())


def test_a_step_makes_what_was_paid_more_likely():
    updates = dataclasses.replace(UPDATES, entropy_weight=0.0)
    policy = PathLevel(SPACE, seed=0, **(TINY | {"updates": updates})).policy
    paid = [[1], [0], [1], [0], [1], [0]]  # averaged, two branches, a 1x1 behind the first
    before = float(policy.score(paid)[0])
    policy.update([paid], np.array([1.0]))
    assert float(policy.score(paid)[0]) > before


@pytest.mark.parametrize(
    "space, settings, words",
    [
        (NASBench201(), {}, "a space of tree-structured cells, got NASBench201; set space=path_l"),
    ],
)
def test_what_it_cannot_search_is_refused(space, settings, words):
    with pytest.raises(ConfigError, match=words):
        PathLevel(space, seed=0, **settings)
