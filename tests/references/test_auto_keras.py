"""Auto-Keras 0.3.7's own numbers: distances, kernel, Gaussian process, acquisition, descriptors,
widening."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas.controllers.surrogates import bourgain
from nas.controllers.surrogates.acquisition import acquire
from nas.controllers.surrogates.edit_distance import network_distance
from nas.controllers.surrogates.kernels import kernel
from nas.controllers.surrogates.posterior import OverNetworks
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain
from nas.morphism.transforms import wider
from nas.ops.description import NORM_WEIGHTS
from nas.ops.recorder import Recorder
from nas.search_spaces.papers.growing.auto_keras import AutoKerasSpace

STORED = np.load(Path(__file__).parent / "auto_keras.npz", allow_pickle=False)
KERNEL = kernel("exponentiated_quadratic", 0.5**0.5)  # exp(-d^2)
SPACE = AutoKerasSpace()
CIFAR = ImageSkeleton(image_shape=(32, 32, 3), classes=10)


def chain(told):
    layers = tuple((kind, tuple(numbers)) for kind, numbers in told["layers"])
    return Chain(layers, tuple((u, v, kind) for u, v, kind in told["skips"]))


CHAINS = [chain(told) for told in json.loads(str(STORED["chains"]))]
SUBSETS = np.split(STORED["subsets"], np.cumsum(STORED["subset_sizes"])[:-1])


class Given:
    """A space whose architecture (i,) is the i-th stored descriptor."""

    def as_chain(self, arch):
        return CHAINS[arch[0]]


def test_edit_distances_are_the_codes():
    ours = [[network_distance(a, b) for b in CHAINS] for a in CHAINS]
    np.testing.assert_allclose(ours, STORED["distances"], atol=1e-12)


def test_the_kernel_is_the_codes_with_its_subsets():
    assert [len(s) for s in bourgain.subsets(8, shrinking=True)] == [len(s) for s in SUBSETS]
    points = bourgain.embedded(STORED["distances"][:8, :8], SUBSETS)
    np.testing.assert_allclose(KERNEL(points, points), STORED["kernel"], atol=1e-12)


def test_predictions_and_acquisitions_are_the_codes(monkeypatch):
    monkeypatch.setattr(bourgain, "subsets", lambda count, shrinking: SUBSETS)
    posterior = OverNetworks(Given(), KERNEL, noise=1e-10, shrinking=True, raw_prediction=True)
    for i in range(8):
        posterior.add((i,))
    mean, deviation = posterior.predict(STORED["values"], [(i,) for i in range(8, 12)])
    np.testing.assert_allclose(mean, STORED["mean"], atol=1e-9)
    np.testing.assert_allclose(deviation, STORED["std"], atol=1e-9)
    found = acquire("ucb", mean, deviation, best=0.0, ucb_weight=2.576, rng=None)
    np.testing.assert_allclose(found, STORED["acquisition"], atol=1e-9)


def as_the_code_has_it(found):
    """Our chain, with all dense layers of one kind, which the code's descriptor has."""
    dense = ("dense", ())
    layers = [dense if kind in ("dense", "classifier") else (kind, n) for kind, n in found.layers]
    return Chain(tuple(layers), found.skips)


def test_the_first_network_is_the_codes_and_is_described_as_there():
    stored = json.loads(str(STORED["starts"]))["CnnGenerator"]
    first = SPACE.starts()[0]
    assert as_the_code_has_it(SPACE.as_chain(first)) == chain(stored)
    biases = 3 * 64  # the code's convolutions have some
    assert SPACE.cost(first, CIFAR).parameters + biases == stored["parameters"] == 80_720


def test_the_residual_start_has_the_codes_layers_but_for_strides():
    stored = json.loads(str(STORED["starts"]))["ResNetGenerator"]
    second = SPACE.starts()[1]
    filters = [n[0] for kind, n in SPACE.as_chain(second).layers if kind == "conv"]
    assert filters == [n[0] for kind, n in stored["layers"] if kind == "conv"]
    assert len(SPACE.as_chain(second).skips) == len(stored["skips"]) == 8
    # Biases; and a normalization of 64 channels where ours reads the image's three.
    biases = 64 + 2 * 3 * (64 + 128 + 256 + 512)
    ours = SPACE.cost(second, CIFAR).parameters + biases + 2 * (64 - 3)
    assert ours == stored["parameters"] == 11_529_354


@pytest.mark.parametrize(
    "morphism, changes",
    [
        ("wider", {"slot6/filters": 128}),
        ("add", {"slot6/skip": ("add", 0)}),
        ("concat", {"slot12/skip": ("concat", 0)}),
        ("deeper", {"slot1/kernel": 5}),
    ],
)
def test_a_morphism_changes_the_description_as_in_the_code(morphism, changes):
    arch = SPACE.encode(SPACE.decode(SPACE.start()) | changes)
    stored = json.loads(str(STORED["morphed"]))[morphism]
    assert as_the_code_has_it(SPACE.as_chain(arch)) == chain(stored)


class Copied:
    """Draws what the code copied, and noise from a generator of its own."""

    def __init__(self):
        self.uniform = np.random.default_rng(0).uniform

    def integers(self, low, high, count):
        assert (low, high, count) == (0, 4, 4)
        return STORED["copied"]


def widened(noise, dense):
    """The stored weights, 4 filters widened to 8: their convolution's, the normalization's, and
    those of the convolution or dense layer that follows."""
    ops = Recorder((5, 5, 3))
    x = ops.relu(ops.conv(ops.image(), 4, (3, 3), name="pre"))
    x = ops.batch_norm(x, name="norm")
    weights = {"pre/kernel": STORED["weights_pre"].astype(np.float32)}
    weights |= {f"norm/{n}": STORED["weights_bn"][i] for i, n in enumerate(NORM_WEIGHTS)}
    if dense:
        x = ops.dense(ops.avg_pool(x, 5, strides=5), 6, name="next")
        weights["next/kernel"] = STORED["weights_dense"].astype(np.float32)
    else:
        x = ops.conv(x, 5, (3, 3), name="next")
        weights["next/kernel"] = STORED["weights_next"].astype(np.float32)
        x = ops.classifier(x, 2, dropout=0.0)
    _, new = wider(ops.network(x), weights, "pre", 8, Copied(), noise=noise, zeros_outward=True)
    norm = np.stack([new[f"norm/{n}"] for n in NORM_WEIGHTS])
    return new["pre/kernel"], norm, new["next/kernel"]


@pytest.mark.parametrize("dense", [False, True])
def test_a_layer_becomes_wider_as_in_the_code(dense):
    parts = ("pre", "bn", "dense" if dense else "next")
    exact = widened(0.0, dense)
    noisy = widened(1e-4, dense)
    for i, part in enumerate(parts):
        np.testing.assert_allclose(exact[i], STORED[f"wider_exact_{part}"], atol=1e-6)
        range_of = 1.0 if part == "bn" else np.ptp(STORED[f"weights_{part}"])
        for values in (noisy[i], STORED[f"wider_noisy_{part}"]):
            change = np.abs(values - STORED[f"wider_exact_{part}"])
            assert 0 < change.max() <= 1e-4 * range_of / 2 + 1e-6
