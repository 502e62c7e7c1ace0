"""MetaQNN against bowenbaker/metaqnn: open layers, the table after 300 updates, published sizes."""

import collections
from pathlib import Path

import numpy as np
import pytest

from nas.controllers.q_learning import QLearning
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Proposal, Trial
from nas.search_spaces.papers.metaqnn import MetaQNN

REFERENCE = np.load(Path(__file__).with_name("metaqnn.npz"))
GAP_CONVOLUTION = 10 * 10 + 10  # the code's GAP has a convolution to the classes before the mean


def choices(space, text):
    names = space.decisions[0].choices
    return tuple(names.index(name) for name in text.split(", ")) if text else ()


def test_the_layers_that_may_follow():
    """Every state that four layers can reach."""
    space = MetaQNN(layers=4)
    names = space.decisions[0].choices
    for text, wanted in zip(REFERENCE["prefixes"], REFERENCE["actions"], strict=True):
        prefix = choices(space, str(text))
        found = collections.Counter(names[choice] for choice in space.allowed(prefix))
        assert found == collections.Counter(str(wanted).split()), text


def test_the_table_after_300_updates():
    """Random networks with random rewards; the values along each of them."""
    space = MetaQNN()
    controller = QLearning(space, seed=0)
    archs = [space.parse(str(text)) for text in REFERENCE["nets"]]
    for i in REFERENCE["order"]:
        controller._learn(controller._path(archs[i]), float(REFERENCE["rewards"][i]))
    values = [row[choice] for arch in archs for row, choice in controller._path(arch)]
    assert values == pytest.approx(REFERENCE["q"].tolist(), abs=1e-14)


@pytest.mark.parametrize("i", range(21))
def test_the_weights_of_the_published_networks(i):
    data, _, _ = str(REFERENCE["published"][i]).partition("_")
    shape = (28, 28, 1) if data == "mnist" else (32, 32, 3)
    text = str(REFERENCE["published_networks"][i])
    space = MetaQNN(image_size=shape[0])
    cost = space.cost(space.parse(text), ImageSkeleton(image_shape=shape, classes=10))
    wanted = int(REFERENCE["published_weights"][i])
    assert cost.parameters == wanted - ("GAP" in text) * GAP_CONVOLUTION


def test_a_reward_is_learnt_from_the_end_backwards():
    """`tell` replays; with one architecture in memory that is the same update over and over."""
    space = MetaQNN()
    arch = space.parse(str(REFERENCE["nets"][0]))
    told, updated = QLearning(space, seed=0, replays=7), QLearning(space, seed=0)
    told.tell([Trial(0, Proposal(arch), 0.9)])
    for _ in range(7):
        updated._learn(updated._path(arch), 0.9)
    assert told.q == updated.q
