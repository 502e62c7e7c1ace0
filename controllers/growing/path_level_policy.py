"""The meta-controller of path-level search (Cai et al. 2018, arXiv:1806.02639, section 3.3).

A tree-structured LSTM reads the part of the cell that exists. Three actors answer, each from the
state of the node in question: how a node merges its branches and how many there are; which
operation an edge is; whether another node stands behind a branch. The order is depth first: a
node's edges, then what is behind each of its branches (code PathLevel-EAS,
arch_search_tree_cell.py).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nas.controllers.growing.controller import Actions
from nas.controllers.growing.policy import GrowingPolicy
from nas.controllers.growing.tree_encoder import (
    ADD,
    CONCAT_COPY,
    CONCAT_SPLIT,
    NONE,
    UNDECIDED,
    Tree,
    TreeEncoder,
)
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.capabilities import TreeSpace
from nas.core.trial import Arch

# The actor in question, the tree so far, and the index of the place -> the choice.
Answer = Callable[[str, Tree, int], int]


class PathLevelPolicy(GrowingPolicy):
    """Grows the cells of a space of trees (`space=path_level`).

    Args:
      encoder: of edges and of kinds of nodes.
      hidden: units of each actor's hidden layer, as a multiple of the encoder's outputs.
      adam: of the updates.
      entropy_weight: of the policy's entropy in the objective.
      clip_norm: the largest norm of all gradients together.
      rng: draws the initial weights.
    """

    def __init__(
        self,
        space: TreeSpace,
        encoder: EncoderSettings,
        adam: AdamSettings,
        *,
        hidden: float,
        entropy_weight: float,
        clip_norm: float,
        rng: np.random.Generator,
    ):
        super().__init__(adam, entropy_weight=entropy_weight, clip_norm=clip_norm)
        self.space, self.most = space, max(2, space.most)
        units = encoder.units
        self.encoder = TreeEncoder(
            self.weight,
            rng,
            operations=len(space.edges) + 1,  # and the root's
            depth=space.depth,
            most=self.most,
            embedding=encoder.embedding,
            units=units,
        )
        self.kinds = list(dict.fromkeys(kind for kind, _ in space.merges))
        self.counts = {k: [n for kind, n in space.merges if kind == k] for k in self.kinds}
        choices = {"merge": len(self.kinds), "edge": len(space.edges), "expand": 2}
        choices |= {kind: len(counts) for kind, counts in self.counts.items() if len(counts) > 1}
        self.actors: dict[str, list[tf.Variable]] = {}
        for name, count in choices.items():
            # Whether to expand is a sigmoid: the logit of the other answer is always 0.
            sizes = 2 * units, int(2 * units * hidden), 1 if name == "expand" else count
            self.actors[name] = []
            for rows, columns in zip(sizes, sizes[1:], strict=False):
                start = rng.uniform(-(rows**-0.5), rows**-0.5, (rows, columns))
                self.actors[name] += [self.weight(start), self.weight(np.zeros(columns))]
        self.begin()

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A cell in which something was inserted, and its actions.

        Cells without an insertion are drawn again (code), unless the space has no other.
        """
        while True:
            actions: Actions = []

            def draw(actor: str, tree: Tree, place: int, actions: Actions = actions) -> int:
                state = self.encoder.traced(
                    tree.edges[None], tree.kinds[None], np.array([place], np.int32)
                )
                cumulative = np.cumsum(np.exp(np.asarray(self._log_p(actor, state), np.float64)))
                actions.append([int((cumulative <= rng.random() * cumulative[-1]).sum())])
                return actions[-1][0]

            arch = self.grow(draw)
            chosen = self.space.decode(arch)
            if self.space.depth == 1 or any(chosen[n] for n in chosen if n.endswith("/expand")):
                return arch, actions

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and entropy, summed over all actions; all trees are read at once."""
        remaining, asked = iter(actions), []

        def replay(actor: str, tree: Tree, place: int) -> int:
            (choice,) = next(remaining)
            asked.append((actor, tree.edges.copy(), tree.kinds.copy(), place, choice))
            return choice

        self.grow(replay)
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
        tree, choices = Tree(self.space.depth, self.most), dict[str, int]()
        tree.branch((), UNDECIDED + len(self.space.edges) + 1, 1)
        asked: list[tuple[str, tuple[int, ...]]] = [("merge", (0,))]
        while asked:
            what, place = asked.pop()
            name, index = f"{self.space.name(place)}/{what}", tree.index(place)
            if what == "merge":
                node = place[:-1]
                merge = self._merge(answer, tree, index)
                choices[f"{self.space.name(node)}/merge"] = self.space.merges.index(merge)
                copies = CONCAT_SPLIT if node else CONCAT_COPY
                kind = {"none": NONE, "add": ADD, "concat": copies}[merge[0]]
                tree.kinds[tree.index(node)] = kind
                tree.branch(node, int(tree.edges[index]), merge[1])
                asked += reversed(self._ask(tree, node, merge[1]))
            else:
                choices[name] = answer(what, tree, index)
                if what == "edge":
                    tree.edges[index] = UNDECIDED + 1 + choices[name]
                elif choices[name]:
                    tree.branch(place, UNDECIDED, 1)
                    asked.append(("merge", (*place, 0)))
        return tuple(choices.get(decision.name, 0) for decision in self.space.decisions)

    def _merge(self, answer: Answer, tree: Tree, index: int) -> tuple[str, int]:
        kind = self.kinds[answer("merge", tree, index)]
        counts = self.counts[kind]
        return kind, counts[answer(kind, tree, index) if kind in self.actors else 0]

    def _ask(
        self, tree: Tree, node: tuple[int, ...], count: int
    ) -> list[tuple[str, tuple[int, ...]]]:
        """The questions about a node that has its branches: edges first."""
        places = [(*node, i) for i in range(count)]
        edges = [("edge", p) for p in places if tree.edges[tree.index(p)] == UNDECIDED]
        deep = len(node) + 1 < self.space.depth
        return edges + [("expand", p) for p in places if deep]

    def _log_p(self, actor: str, states: tf.Tensor) -> tf.Tensor:
        """Log-probabilities from the encoder's states: [rows, 2 units] -> [rows, choices]."""
        first, first_bias, last, last_bias = self.actors[actor]
        logits = tf.nn.relu(states @ first + first_bias) @ last + last_bias
        if actor == "expand":
            logits = tf.concat([tf.zeros_like(logits), logits], 1)
        return tf.nn.log_softmax(logits)
