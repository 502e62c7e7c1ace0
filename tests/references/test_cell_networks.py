"""NASNet-A and the AmoebaNets beside the networks of their authors' code, weights given."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.ops.quick_network import QuickNetwork
from nas.ops.weights import WeightOps
from nas.search_spaces.papers.amoebanet import AmoebaNet
from nas.search_spaces.papers.nasnet import NASNet
from nas.training.objective import Classes, training_loss
from tests.references.drawn import drawn

HERE = Path(__file__).parent
BATCH = 4


def network_of(space, name: str, skeleton: ImageSkeleton, seed: int) -> QuickNetwork:
    """The published network, with the weights that the reference was given."""
    network = space.build_for_search(space.parse(name), skeleton, seed=0)
    values = network.values()
    network.assign({name: drawn(name, value.shape, seed) for name, value in values.items()})
    return network


def images_of(side: int, seed: int) -> tf.Tensor:
    rng = np.random.default_rng(seed)
    return tf.constant(rng.standard_normal((BATCH, side, side, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def nasnet():
    answer = json.loads((HERE / "nasnet_a.json").read_text())
    skeleton = ImageSkeleton(
        image_shape=(32, 32, 3), classes=10, cells=1, channels=8, auxiliary_weight=0.4
    )
    return answer, network_of(NASNet(), "nasnet_a", skeleton, answer["seed"])


def test_nasnet_computes_the_logits_of_the_authors_code(nasnet):
    answer, network = nasnet
    logits = network(images_of(32, answer["seed"])).numpy()
    np.testing.assert_allclose(logits, answer["logits"], rtol=2e-4, atol=2e-3)


def test_nasnet_trains_like_the_authors_code(nasnet):
    """The logits of both heads with the moments of the batch, the loss, and its gradient."""
    answer, network = nasnet
    labels, seed = tf.constant([3, 1, 4, 1]), tf.constant([0, 0])
    with tf.GradientTape() as tape:
        heads = network.heads(images_of(32, answer["seed"]), seed=seed, progress=0.0)
        loss = training_loss(Classes(), labels, heads, smoothing=0.0, auxiliary_weight=0.4)
    gradients = network.named(tape.gradient(loss, network.trainable_variables))
    np.testing.assert_allclose(heads[0], answer["training_logits"], atol=5e-4)
    np.testing.assert_allclose(heads[1], answer["auxiliary_logits"], atol=5e-4)
    assert float(loss) == pytest.approx(answer["loss"], abs=1e-4)
    assert set(gradients) == set(answer["gradient_norms"])
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in gradients.items()}
    largest = max(answer["gradient_norms"].values())
    for name, norm in answer["gradient_norms"].items():
        assert norms[name] == pytest.approx(norm, rel=0.02, abs=1e-3 * largest), name


def test_weight_decay_reaches_the_kernels_that_the_authors_code_decays(nasnet):
    """Its regularisation is half of 5e-4 times the sum of squares: a gradient of 5e-4 weights."""
    answer, network = nasnet
    squares = sum(
        float(tf.reduce_sum(vector**2))
        for vector, decays in zip(network.trainable_variables, network.decays, strict=True)
        if decays
    )
    assert 0.5 * 5e-4 * squares == pytest.approx(answer["regularization"], rel=1e-5)


@pytest.mark.parametrize(("cells", "channels", "size"), [(6, 32, "6@768"), (7, 96, "7@2304")])
def test_nasnet_has_as_many_weights_as_the_authors_code(nasnet, cells, channels, size):
    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=cells, channels=channels)
    cost = NASNet().cost(NASNet().parse("nasnet_a"), skeleton)
    assert cost.parameters == nasnet[0]["sizes"][size]


AMOEBANET = json.loads((HERE / "amoebanet.json").read_text())


@pytest.mark.parametrize("name", AMOEBANET["cells"])
def test_amoebanets_compute_the_logits_of_the_authors_code(name):
    """With the stem of ImageNet, the only one of the code whose borders are ours too."""
    answer = AMOEBANET["cells"][name]
    skeleton = ImageSkeleton(
        image_shape=(65, 65, 3), classes=10, cells=1, channels=16, stem="imagenet", stem_channels=12
    )
    space = AmoebaNet(nodes=5, operations=list(AmoebaNet.rules.operations))
    network = network_of(space, name, skeleton, AMOEBANET["seed"])
    logits = network(images_of(65, AMOEBANET["seed"])).numpy()
    scale = np.abs(answer["logits"]).max()
    np.testing.assert_allclose(logits / scale, np.array(answer["logits"]) / scale, atol=1e-5)
    cost = space.cost(space.parse(name), skeleton)
    assert cost.parameters == answer["trainable"]


def test_paths_are_kept_as_often_as_in_the_authors_code():
    """The probability of every path of NASNet-A, in order, at five steps of a training of 100."""
    answer = json.loads((HERE / "drop_path.json").read_text())
    skeleton = ImageSkeleton(
        image_shape=(16, 16, 3), classes=10, cells=1, channels=4, drop_path=1 - answer["keep"]
    )
    space = NASNet()
    listed = WeightOps(skeleton.image_shape)
    space.network(listed, space.parse("nasnet_a"), skeleton)
    for step, theirs in zip(answer["at"], answer["probabilities"], strict=True):
        progress = min(step / answer["steps"], 1.0)
        np.testing.assert_allclose(
            1 - np.array(listed.drop_path_rates) * progress, theirs, atol=1e-5
        )
