"""The contract of a space, held by every conf/space/*.yaml: a new file is tested by being there."""

import functools
import math
import subprocess
import sys
from importlib import resources
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from nas.core.capabilities import ResettingSpace
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError
from nas.ops.keras import KerasOps
from tests.helpers.hydra_configs import composed

FILES = sorted(Path(str(resources.files("nas.conf"))).glob("space/*.yaml"))
SPACES = {file.stem: hydra.utils.instantiate(OmegaConf.load(file)) for file in FILES}
SHAPES = {
    "digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar": (32, 32, 3), "oblong": (64, 48, 3),
}  # fmt: skip
# Of the same kinds of layers as enas_micro's.
OF_CELLS = {"nasnet", "amoebanet", "darts", "densenet", "path_level"}
GROWTH = {"_target_": "nas.search_spaces.papers.growing.settings.GrowthSettings"}
# Cells of all kinds of layers, but of fewer: what a network with hundreds would show no better.
FEWER = {
    "auto_keras": {
        "slots": 6, "filters": [64, 128], "pool_after": [3],
        "growth": GROWTH | {"start_filters": [[64], [64]], "start_units": [64]},
        "hidden": 2, "units": [64, 128], "residual_blocks": 0,
    },
    "amoebanet": {"nodes": 2}, "nasnet": {"nodes": 2}, "darts": {"nodes": 2},
    "enas_micro": {"nodes": 2}, "enas_macro": {"layers": 5},
    "large_scale_evolution": {"slots": 6},
    "hierarchical": {"nodes": [3, 4], "motifs": [3, 1], "mutations": 200},
    "plain": {"slots": 6, "pool_after": [3], "hidden": 2},
}  # fmt: skip
# What the backward pass reads again: see CountOps.
KEPT = {
    "InputLayer", "Conv2D", "DepthwiseConv2D", "ReLU", "Concatenate", "ZeroPadding2D",
    "Cropping2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "Dense",
}  # fmt: skip


def of_images(space) -> bool:
    """Whether its networks are image classifiers; others have skeletons of their own."""
    return space.domain == "images"


def growth(space, name, otherwise):
    """A setting of how networks grow, which some spaces keep in a record."""
    return getattr(getattr(space, "growth", space), name, otherwise)


every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
# Mutations of a space that only grows are transforms, those of large-scale evolution are a list of
# kinds: each has tests in the file of its space.
every_mutated_space = pytest.mark.parametrize(
    "space",
    [
        pytest.param(s, id=name)
        for name, s in SPACES.items()
        if not growth(s, "only_grow", False) and not isinstance(s, ResettingSpace)
    ],
)
every_image_space = pytest.mark.parametrize(
    "name", [name for name, space in SPACES.items() if of_images(space)]
)


def test_decisions_need_neither_tensorflow_nor_keras():
    """`nas list`, `nas search --cfg job` and searches of tables start without them."""
    modules = sorted({type(space).__module__ for space in SPACES.values()})
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    assert not {{"tensorflow", "keras"}} & set(sys.modules), module
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@functools.cache
def built_of(name, whole=False):
    """The space as its file has it, or with fewer layers."""
    settings = composed("space", name) | ({} if whole else FEWER.get(name, {}))
    return hydra.utils.instantiate(settings, _convert_="object")


@functools.cache
def model_of(name, shape):
    """An architecture of built_of(name), and its network."""
    (arch,) = archs(built_of(name), 1, seed=shape[0])
    return arch, built_of(name).build(arch, skeleton(shape, dropout=0.5))


def archs(space, count, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def skeleton(shape=(8, 8, 1), classes=7, **settings):
    small = {"cells": 1, "channels": 4, "width": 0.1} | settings
    return ImageSkeleton(image_shape=shape, classes=classes, **small)


@every_space
def test_decisions_have_names_of_their_own_and_anchors_at_earlier_nodes(space):
    names = [decision.name for decision in space.decisions]
    assert len(set(names)) == len(names)
    for decision in space.decisions:
        for anchor in decision.anchors or ():
            assert anchor is None or anchor < decision.node


@every_space
def test_samples_are_valid_and_of_python_ints(space):
    for arch in archs(space, 50):
        space.check(arch)
        assert isinstance(arch, tuple)
        assert {type(choice) for choice in arch} == {int}


@every_space
def test_samples_use_every_choice_and_repeat_with_their_seed(space):
    draws = max(400, 40 * max(len(decision.choices) for decision in space.decisions))
    drawn = archs(space, draws)
    assert drawn == archs(space, draws)
    if not space.is_conditional:
        # A choice of n is missed by 40n draws with probability (1 - 1/n)^40n < 1e-17.
        for i, decision in enumerate(space.decisions):
            assert {arch[i] for arch in drawn} == set(range(len(decision.choices)))


@every_mutated_space
def test_a_mutation_changes_one_open_decision_and_is_valid(space):
    rng = np.random.default_rng(1)
    for arch in archs(space, 50):
        child = space.mutate(arch, rng)
        space.check(child)
        assert {type(choice) for choice in child} == {int}
        if child == arch and growth(space, "identity_share", 0.0):
            continue  # AmoebaNet's algorithm asks for some that change nothing
        changed = [i for i in range(len(arch)) if arch[i] != child[i]]
        assert len(space.allowed(arch[: changed[0]])) > 1
        for i in changed[1:]:  # drawn again only where the change closed what was there
            assert arch[i] not in space.allowed(child[:i])


@every_mutated_space
def test_mutation_reaches_every_open_decision(space):
    rng, (arch,) = np.random.default_rng(2), archs(space, 1)
    reached = set()
    for _ in range(40 * len(arch)):  # one of n is missed with probability (1 - 1/n)^40n < 1e-17
        child = space.mutate(arch, rng)
        reached.update([i for i in range(len(arch)) if arch[i] != child[i]][:1])
    assert reached == {i for i in range(len(arch)) if len(space.allowed(arch[:i])) > 1}


@every_space
def test_decode_and_encode_are_inverse(space):
    for arch in archs(space, 20):
        chosen = space.decode(arch)
        assert list(chosen) == [decision.name for decision in space.decisions]
        assert space.encode(chosen) == arch


@every_space
def test_parse_reads_what_a_user_copies(space):
    for arch in archs(space, 5):
        assert space.parse(",".join(map(str, arch))) == arch
        assert space.parse(str(arch)) == arch


@every_space
def test_keys_are_hashable_and_stable(space):
    for arch in archs(space, 20):
        assert space.key(arch) == space.key(tuple(arch))
        hash(space.key(arch))


@every_space
def test_size_is_an_exact_int(space):
    assert type(space.size) is int
    if not space.is_conditional:
        assert space.size == math.prod(len(d.choices) for d in space.decisions)


@every_space
def test_graphs_join_named_nodes_forwards_to_one_output(space):
    for arch in archs(space, 20):
        graph = space.graph(arch)
        order = {name: i for i, (name, _, _) in enumerate(graph.nodes)}
        assert len(order) == len(graph.nodes)
        assert len(set(graph.edges)) == len(graph.edges)
        assert {name for edge in graph.edges for name in edge} <= set(order)
        assert graph == space.graph(arch)


@every_image_space
@pytest.mark.parametrize(
    "shape",
    [pytest.param(s, marks=pytest.mark.slow if n == "cifar" else ()) for n, s in SHAPES.items()],
    ids=SHAPES,
)
def test_built_networks_give_logits_and_cost_what_was_said(name, shape):
    arch, model = model_of(name, shape)
    check_logits_and_cost(built_of(name), arch, model, shape)


@every_image_space
@pytest.mark.slow
def test_so_do_those_of_as_many_layers_as_the_file_says(name):
    space, shape = built_of(name, whole=True), SHAPES["mnist"]
    for arch in archs(space, 2):
        check_logits_and_cost(space, arch, space.build(arch, skeleton(shape)), shape)


def check_logits_and_cost(space, arch, model, shape):
    logits = np.asarray(model(np.ones((2, *shape), np.float32)))
    assert logits.shape == (2, 7)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    cost = space.cost(arch, skeleton(shape))
    assert cost.parameters == sum(math.prod(v.shape) for v in model.trainable_variables)
    flops, activations = counted(model)
    assert cost.flops == pytest.approx(flops, rel=0.01)
    assert cost.activations == pytest.approx(activations, rel=0.01)


@every_image_space
def test_quick_networks_compute_and_learn_what_models_do(name, monkeypatch):
    """Logits, gradients and moving averages with the same weights. Every weight has a gradient."""
    import keras
    import tensorflow as tf

    from nas.ops.tensors import TensorOps
    from nas.training.weights import give, take

    for ops, smooth in ((KerasOps, keras.ops.silu), (TensorOps, tf.nn.silu)):
        monkeypatch.setattr(ops, "dropout", lambda self, x, rate: x)  # each draws in its own way
        # Rounding that puts a value on the other side of a ReLU's kink changes whole gradients.
        monkeypatch.setattr(ops, "relu", lambda self, x, smooth=smooth: smooth(x))
    space = built_of(name)
    (arch,) = archs(space, 1, seed=3)
    model, quick = space.build(arch, skeleton()), space.build_for_search(arch, skeleton(), seed=0)
    rng = np.random.default_rng(0)
    shaken = {  # so that no normalization is the identity
        name: value * rng.uniform(0.8, 1.2, value.shape) + rng.normal(0, 0.01, value.shape)
        for name, value in quick.values().items()
    }
    count = quick.assign(shaken)
    assert count == give(model, shaken) == space.cost(arch, skeleton()).parameters
    images = tf.constant(rng.standard_normal((32, 8, 8, 1), np.float32))
    alike(quick(images), model(images))

    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_sum(logits**2) / 100
    gradients = tape.gradient(loss, model.trainable_variables)
    with tf.GradientTape() as tape:
        (quick_logits,) = quick.heads(images, seed=tf.constant([0, 0]), progress=0.0)
        quick_loss = tf.reduce_sum(quick_logits**2) / 100
    vectors = tape.gradient(quick_loss, quick.trainable_variables)
    alike(quick_logits, logits)
    own = quick.named(vectors)
    theirs = {
        f"{layer.name}/{v.name}": g
        for layer in model.layers
        for v, g in of_layer(layer, model.trainable_variables, gradients)
    }
    assert own.keys() == theirs.keys()
    largest = max(float(np.abs(g).max()) for g in theirs.values())
    for name, gradient in theirs.items():
        np.testing.assert_allclose(own[name], gradient, rtol=1e-4, atol=1e-5 * largest)
    for name, value in take(model).items():
        np.testing.assert_allclose(quick.values()[name], value, rtol=1e-5, atol=1e-6)


def alike(found, expected):
    size = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * size)


def of_layer(layer, variables, gradients):
    own = {id(v) for v in layer.trainable_variables}
    return [(v, g) for v, g in zip(variables, gradients, strict=True) if id(v) in own]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in OF_CELLS else ())
        for name, space in SPACES.items()
        if of_images(space)
    ],
)
def test_networks_can_be_saved_and_loaded(name, tmp_path):
    import keras

    _, model = model_of(name, SHAPES["digits"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(again(images), model(images))


def counted(model) -> tuple[int, int]:
    """Multiply-adds of convolutions and dense layers, and kept activations, of a Keras model."""
    flops = activations = 0
    for layer in model.layers:
        size = math.prod(layer.output.shape[1:])
        if layer.__class__.__name__ in KEPT:
            activations += size
        if hasattr(layer, "kernel"):
            *window, _, outputs = layer.kernel.shape
            depth = 1 if "Depthwise" in layer.__class__.__name__ else layer.kernel.shape[-2]
            flops += size // outputs * math.prod(window) * depth * outputs
    return flops, activations


class Conditional(Space):
    """The second decision is open only after a 1; the third always."""

    decisions = tuple(Decision(name, (0, 1, 2)) for name in "abc")

    def allowed(self, prefix):
        if not prefix:
            return (0, 1)
        return (0,) if len(prefix) == 1 and prefix[0] == 0 else (0, 1, 2)


class Single(Space):
    decisions = (Decision("only", ("one",)),)


class SingleConditional(Single):
    def allowed(self, prefix):
        return (0,)


def test_conditional_spaces_sample_and_mutate_within_what_is_open():
    space, rng = Conditional(), np.random.default_rng(0)
    drawn = {space.sample(rng) for _ in range(500)}
    assert len(drawn) == 3 + 9
    for arch in drawn:
        children = {space.mutate(arch, rng) for _ in range(200)}
        assert children <= drawn
        first = {next(i for i in range(3) if arch[i] != child[i]) for child in children}
        assert first == ({0, 1, 2} if arch[0] else {0, 2})


def test_mutation_draws_open_decisions_alike_even_where_others_are_pinned():
    rng = np.random.default_rng(0)
    for space, arch in ((Conditional(), (0, 0, 0)), (SPACES["nasbench201"], (0,) * 6)):
        where = [
            next(i for i in range(len(arch)) if arch[i] != child[i])
            for child in (space.mutate(arch, rng) for _ in range(3000))
        ]
        counts = np.unique(where, return_counts=True)[1]
        p = 1 / len(counts)
        # Five standard deviations: fails wrongly once in a million runs.
        assert np.abs(counts - 3000 * p).max() < 5 * math.sqrt(3000 * p * (1 - p))


@pytest.mark.parametrize("space", [Single(), SingleConditional()])
def test_a_single_architecture_cannot_be_mutated(space):
    with pytest.raises(ValueError, match="single architecture: nothing to mutate"):
        space.mutate((0,), np.random.default_rng(0))


def test_a_conditional_space_counts_itself():
    with pytest.raises(NotImplementedError, match="Conditional must count its own"):
        Conditional().size  # noqa: B018


def test_wrong_architectures_are_refused_naming_the_decision():
    with pytest.raises(ValueError, match="has 3 decisions, got 2"):
        Conditional().check((0, 0))
    with pytest.raises(
        ValueError, match=r"decision 1 \(b\) must be one of \[0\] after \(0,\), got 2"
    ):
        Conditional().check((0, 2, 0))
    with pytest.raises(ValueError, match=r"must be one of \[0\] after \(\), got -1"):
        Single().check((-1,))


def test_encode_names_what_is_missing_unknown_or_not_a_choice():
    with pytest.raises(ValueError, match=r"missing \['only'\], unknown \['other'\]"):
        Single().encode({"other": 1})
    with pytest.raises(ValueError, match=r"only must be one of \['one'\], got 'two'"):
        Single().encode({"only": "two"})


@pytest.mark.parametrize("text", ["0,1", "0,x,0", "", "0,2,0"])
def test_parse_says_what_a_genotype_must_be(text):
    with pytest.raises(ConfigError, match="genotype must be 3 choices separated by commas, got"):
        Conditional().parse(text)


def test_decisions_must_have_choices_and_one_anchor_each():
    with pytest.raises(ValueError, match="decision empty must have at least one choice"):
        Decision("empty", ())
    with pytest.raises(ValueError, match="one anchor per choice, got 1 anchors for 2 choices"):
        Decision("skip", (False, True), 1, (None,))
