"""The meta-controller of path-level search (Cai et al. 2018, arXiv:1806.02639, section 3.3).

A tree-structured LSTM reads the cell as far as it is made. Three actors answer, each from the state
of the node that is asked about: how a node merges its branches and how many there are; which
operation an edge is; whether another node stands behind a branch. Depth first: a node's edges, then
what is behind each of its branches (code PathLevel-EAS, arch_search_tree_cell.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nas.controllers.growing.policy import Actions, GrowingPolicy
from nas.controllers.growing.tree_encoder import (
    ADD,
    CONCAT_COPY,
    CONCAT_SPLIT,
    NONE,
    UNDECIDED,
    Tree,
    TreeEncoder,
)
from nas.core.trial import Arch

# The actor that is asked, the tree as far as it is made, and the place -> the choice.
Answer = Callable[[str, Tree, int], int]


class PathLevelPolicy(GrowingPolicy):
    """Makes the cells of `space`, a search_spaces/papers/path_level/space.py.

    Args:
      hidden: units of each actor's hidden layer, in units of what it reads.
    """

    def __init__(
        self,
        space: Any,
        *,
        embedding: int,
        units: int,
        hidden: float,
        rng: np.random.Generator,
        **settings: Any,
    ):
        super().__init__(**settings)
        self.space, self.most = space, max(2, space.most)
        self.encoder = TreeEncoder(
            self.weight,
            rng,
            operations=len(space.edges) + 1,  # and the root's
            depth=space.depth,
            most=self.most,
            embedding=embedding,
            units=units,
        )
        self.kinds = list(dict.fromkeys(kind for kind, _ in space.merges))
        self.counts = {k: [n for kind, n in space.merges if kind == k] for k in self.kinds}
        choices = {"merge": len(self.kinds), "edge": len(space.edges), "expand": 2}
        choices |= {kind: len(counts) for kind, counts in self.counts.items() if len(counts) > 1}
        self.actors: dict[str, list[tf.Variable]] = {}
        for name, count in choices.items():
            # Whether to expand is a sigmoid: the other of two answers is always 0.
            sizes = 2 * units, int(2 * units * hidden), 1 if name == "expand" else count
            self.actors[name] = []
            for rows, columns in zip(sizes, sizes[1:], strict=False):
                start = rng.uniform(-(rows**-0.5), rows**-0.5, (rows, columns))
                self.actors[name] += [self.weight(start), self.weight(np.zeros(columns))]
        self.begin()

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A cell in which something was inserted, if that can be: others are drawn anew (code)."""
        while True:
            actions: Actions = []

            def draw(actor: str, tree: Tree, place: int, actions: Actions = actions) -> int:
                state = self.encoder.traced(
                    tree.edges[None], tree.kinds[None], np.array([place], np.int32)
                )
                p = np.cumsum(np.exp(np.asarray(self._log_p(actor, state), np.float64)))
                actions.append([int((p <= rng.random() * p[-1]).sum())])
                return actions[-1][0]

            arch = self.grow(draw)
            chosen = self.space.decode(arch)
            if self.space.depth == 1 or any(chosen[n] for n in chosen if n.endswith("/expand")):
                return arch, actions

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and entropy of all actions together. All trees are read at once."""
        left, asked = iter(actions), []

        def again(actor: str, tree: Tree, place: int) -> int:
            (choice,) = next(left)
            asked.append((actor, tree.edges.copy(), tree.kinds.copy(), place, choice))
            return choice

        self.grow(again)
        actors, edges, kinds, places, choices = zip(*asked, strict=True)
        states = self.encoder(np.array(edges), np.array(kinds), np.array(places, np.int32))
        terms, entropies = [], []
        for actor in dict.fromkeys(actors):
            rows = [i for i, name in enumerate(actors) if name == actor]
            log_p = self._log_p(actor, tf.gather(states, rows))
            chosen = [choices[i] for i in rows]
            terms.append(tf.reduce_sum(tf.gather(log_p, chosen, batch_dims=1)))
            entropies.append(-tf.reduce_sum(tf.exp(log_p) * log_p))
        return tf.add_n(terms), tf.add_n(entropies)

    def grow(self, answer: Answer) -> Arch:
        """The cell that the answers lead to."""
        tree, found = Tree(self.space.depth, self.most), dict[str, int]()
        tree.branch((), UNDECIDED + len(self.space.edges) + 1, 1)
        asked: list[tuple[str, tuple[int, ...]]] = [("merge", (0,))]
        while asked:
            what, place = asked.pop()
            name, index = f"{self.space.name(place)}/{what}", tree.index(place)
            if what == "merge":
                node = place[:-1]
                merge = self._merge(answer, tree, index)
                found[f"{self.space.name(node)}/merge"] = self.space.merges.index(merge)
                copies = CONCAT_SPLIT if node else CONCAT_COPY
                kind = {"none": NONE, "add": ADD, "concat": copies}[merge[0]]
                tree.kinds[tree.index(node)] = kind
                tree.branch(node, int(tree.edges[index]), merge[1])
                asked += reversed(self._ask(tree, node, merge[1]))
            else:
                found[name] = answer(what, tree, index)
                if what == "edge":
                    tree.edges[index] = UNDECIDED + 1 + found[name]
                elif found[name]:
                    tree.branch(place, UNDECIDED, 1)
                    asked.append(("merge", (*place, 0)))
        return tuple(found.get(decision.name, 0) for decision in self.space.decisions)

    def _merge(self, answer: Answer, tree: Tree, index: int) -> tuple[str, int]:
        kind = self.kinds[answer("merge", tree, index)]
        counts = self.counts[kind]
        return kind, counts[answer(kind, tree, index) if kind in self.actors else 0]

    def _ask(self, tree: Tree, node: tuple[int, ...], count: int):
        """What is asked of a node that has its branches: edges first."""
        places = [(*node, i) for i in range(count)]
        edges = [("edge", p) for p in places if tree.edges[tree.index(p)] == UNDECIDED]
        deep = len(node) + 1 < self.space.depth
        return edges + [("expand", p) for p in places if deep]

    def _log_p(self, actor: str, states: tf.Tensor) -> tf.Tensor:
        """[rows, 2 units] -> [rows, choices]."""
        first, first_bias, last, last_bias = self.actors[actor]
        logits = tf.nn.relu(states @ first + first_bias) @ last + last_bias
        if actor == "expand":
            logits = tf.concat([tf.zeros_like(logits), logits], 1)
        return tf.nn.log_softmax(logits)
