"""One graph for all candidates trains each as a network built for it alone would be trained."""

import functools
import pickle

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, EvaluationError, Proposal
from nas.evaluators.common import SizeLimits
from nas.evaluators.one_graph import TrainWithOneGraph, refuse_nan
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.genetic_cnn import GeneticCNN
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import devices
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers import small_images
from tests.helpers.toy_supernet import Toy

RECIPE = Recipe(
    epochs=2, batch_size=8, learning_rate=0.01, weight_decay=1e-3, pad_crop=1, flip=True,
    label_smoothing=0.1, clip_norm=1.0, eval_batch_size=4,
)  # fmt: skip
SHAPE = (8, 8, 1)
SKELETON = functools.partial(ImageSkeleton, cells=1, channels=4)
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)


def data():
    return small_images.make(*small_images.some(shape=SHAPE))


def evaluator(space=None, skeleton=SKELETON, recipe=RECIPE):
    space = space or NASBench201()
    return TrainWithOneGraph(
        space=space, dataset=data, skeleton=skeleton, recipe=recipe, seed=0,
        limits=SizeLimits(max_parameters=20_000),
    )  # fmt: skip


@pytest.fixture(scope="module")
def toy():
    return evaluator(Toy())


@pytest.fixture(scope="module")
def cells():
    return evaluator()


def built(space, arch, seed: int, recipe=RECIPE) -> dict[str, list[float]]:
    """The history of the network that is built for the architecture alone."""
    devices.prepare()
    skeleton = SKELETON(image_shape=SHAPE, classes=2)
    model = image.build_for_search(space, arch, skeleton, recipe, seed)
    return image.fit(model, data(), recipe, seed=seed)


def assert_equal(history, expected) -> None:
    for name in ("loss", "accuracy", "valid_loss", "valid_accuracy"):
        assert history[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("arch", [(2, 2), (0, 1)], ids=["all_used", "unused_convolutions"])
def test_a_training_equals_that_of_the_built_network(toy, arch):
    equals_the_built_network(toy, arch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        (CONV_3X3, SKIP, CONV_1X1, AVG_POOL, CONV_3X3, SKIP),
        (CONV_3X3, NONE, NONE, SKIP, NONE, NONE),
    ],
    ids=["all_live", "dead_convolution"],
)
def test_so_it_does_in_the_cells_of_nasbench201(cells, arch):
    equals_the_built_network(cells, arch)


def equals_the_built_network(evaluate, arch):
    skeleton = SKELETON(image_shape=SHAPE, classes=2)
    for seed in (7, 8):  # the second starts from nothing that the first has left
        found = evaluate._train(arch, skeleton, RECIPE, seed)
    assert_equal(found, built(evaluate.space, arch, 8))


def test_a_training_of_fewer_epochs_traces_nothing_again(toy):
    metrics = toy(3, Proposal((2, 1), epochs=1))
    assert metrics["epochs"] == len(metrics["valid_accuracies"]) == 1
    toy(4, Proposal((1, 0), epochs=3))
    assert toy._graph.graph.experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_the_cells_of_darts_too():
    space = DARTS(nodes=1, operations=("dil_sep_3x3", "max_pool_3x3"))
    arch = space.sample(np.random.default_rng(0))
    found = evaluator(space)._train(arch, SKELETON(image_shape=SHAPE, classes=2), RECIPE, 5)
    assert_equal(found, built(space, arch, 5))


def test_a_worker_gets_no_graph():
    used = evaluator()
    used._graph = lambda: None  # what no process can be sent
    copy = pickle.loads(pickle.dumps(used))
    assert (copy._graph, copy.recipe, copy.seed) == (None, RECIPE, 0)


def test_a_space_without_a_supernet_is_refused():
    with pytest.raises(ConfigError, match=r"space must .* got GeneticCNN; set evaluator=scratch"):
        evaluator(GeneticCNN())


def test_what_a_supernet_does_not_train_is_refused():
    with pytest.raises(ConfigError, match="mixed_precision must be false"):
        evaluator(recipe=RECIPE.replace(mixed_precision=True))
    with pytest.raises(ConfigError, match="dropout must be 0 .* got 0.5"):
        evaluator(skeleton=functools.partial(SKELETON, dropout=0.5)).check_data(data())


def test_a_candidate_too_large_is_refused():
    with pytest.raises(EvaluationError, match="max_parameters=20000"):
        evaluator(skeleton=functools.partial(SKELETON, channels=64))(0, Proposal((CONV_3X3,) * 6))


def test_a_loss_that_is_no_number_names_its_epoch():
    with pytest.raises(EvaluationError, match="the loss is nan after epoch 2"):
        refuse_nan(np.array([1.0, np.nan, np.inf]))
