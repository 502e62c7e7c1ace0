"""Recurrent cells: published sizes, equations against numpy, Keras' own loop, dropout masks."""

import math
from importlib import resources
from pathlib import Path

import hydra
import keras
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.recurrent.cell import LSTM, over_time
from nas.search_spaces.recurrent.genotypes import published
from nas.search_spaces.recurrent.language_model import LanguageModel
from nas.search_spaces.recurrent.published_cells import NASCell, NodesCell

CONF = Path(str(resources.files("nas.conf")))
CELLS = {f.stem: OmegaConf.load(f) for f in sorted(CONF.glob("cell/*.yaml"))}
SEED = tf.constant([1, 2])
every_cell = pytest.mark.parametrize("maker", CELLS.values(), ids=CELLS)


@pytest.fixture(autouse=True)
def seeded():
    """Cells draw their weights from Keras' global generator."""
    keras.utils.set_random_seed(0)


def skeleton(**settings):
    return LanguageSkeleton(**({"vocabulary": 10, "init": 0.9} | settings))


def cell_of(maker, inputs=3, units=4, **settings):
    return hydra.utils.instantiate(maker)(inputs, units, skeleton(**settings))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(layer):
    return sum(math.prod(v.shape) for v in layer.trainable_variables)


def named(group, name, **given):
    return hydra.utils.instantiate(OmegaConf.load(CONF / group / f"{name}.yaml"))(**given)


@every_cell
def test_every_cell_is_a_keras_cell_and_both_loops_are_keras_own(maker):
    cell = cell_of(maker)
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)  # [time, batch, inputs]
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    theirs, *last = layer(np.swapaxes(x, 0, 1))
    zeros = tuple(tf.zeros([2, size]) for size in cell.state_size)
    written_out, states = over_time(cell, tf.constant(x), zeros, None)
    np.testing.assert_allclose(written_out, np.swapaxes(theirs, 0, 1), rtol=1e-5, atol=1e-6)
    for ours, other in zip(states, last, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 3])])
    def looped(x):
        return over_time(cell, x, zeros, None)

    outputs, after = looped(x)
    np.testing.assert_allclose(outputs, written_out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after[-1], states[-1], rtol=1e-5, atol=1e-6)


@every_cell
def test_every_weight_has_a_gradient(maker):
    cell = cell_of(maker)
    zeros = tuple(tf.zeros([2, size]) for size in cell.state_size)
    with tf.GradientTape() as tape:
        outputs, _ = over_time(cell, tf.ones([3, 2, 3]), zeros, None)
        loss = tf.reduce_sum(outputs**2)
    gradients = tape.gradient(loss, [v.value for v in cell.trainable_variables])
    assert gradients and None not in gradients


def test_the_lstm_is_keras_lstm():
    cell, theirs = LSTM(3, 4, skeleton()), keras.layers.LSTM(4)
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    theirs(x)
    theirs.set_weights([np.array(v) for v in (cell.kernel, cell.recurrent_kernel, cell.bias)])
    np.testing.assert_allclose(keras.layers.RNN(cell)(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_a_forget_bias_is_added_to_the_forget_gates():
    cell, biased = LSTM(3, 4, skeleton()), LSTM(3, 4, skeleton(), forget_bias=1.5)
    biased.set_weights(cell.get_weights())
    cell.bias.assign(np.array(cell.bias) + np.repeat([0, 1.5, 0, 0], 4).astype(np.float32))
    states = (tf.ones([2, 4]), tf.ones([2, 4]))
    x = tf.ones([2, 3])
    for ours, other in zip(cell(x, states)[1], biased(x, states)[1], strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)


def test_nascells_weights():
    assert weights(NASCell(100, 100, skeleton())) == 160_000
    assert weights(NASCell(100, 100, skeleton(), bias=True)) == 160_800


def test_nascell_without_weights():
    """c' = tanh(c) tanh(1/2), h' = tanh(c' tanh(sigmoid(1/2))), worked by hand."""
    cell = NASCell(3, 4, skeleton())
    cell.set_weights([np.zeros_like(w) for w in cell.get_weights()])
    c = np.linspace(-2, 2, 4, dtype=np.float32)[None]
    output, (h, after) = cell(tf.ones([1, 3]), (tf.ones([1, 4]), tf.constant(c)))
    expected = np.tanh(c) * np.tanh(0.5)
    np.testing.assert_allclose(after, expected, rtol=1e-6)
    np.testing.assert_allclose(output, np.tanh(expected * np.tanh(sigmoid(0.5))), rtol=1e-6)
    np.testing.assert_array_equal(h, output)


@pytest.mark.parametrize("bias", [False, True])
def test_nascell_is_the_published_tree(bias):
    """Node by node from the tree of genotypes.json, in numpy and float64."""
    from nas.search_spaces.published.genotypes import read

    entry, cell = read()["nascell"], NASCell(3, 4, skeleton(), bias=bias)
    rng = np.random.default_rng(0)
    x, h, c = (rng.normal(size=(2, n)).astype(np.float32) for n in (3, 4, 4))
    kernel, recurrent = np.array(cell.kernel), np.array(cell.recurrent_kernel)
    added = np.array(cell.bias) if bias else 0.0
    xs, hs = np.split(x @ kernel, 8, axis=1), np.split(h @ recurrent + added, 8, axis=1)
    functions = {
        "sigmoid": sigmoid, "tanh": np.tanh, "identity": lambda v: v,
        "relu": lambda v: np.maximum(v, 0),
    }  # fmt: skip
    combine = {"add": np.add, "mul": np.multiply}
    value = {"c_prev": c}
    for k, function, how in entry["leaves"]:
        value[f"leaf{k}"] = functions[function](combine[how](xs[k], hs[k]))
    for name, function, how, (left, right) in entry["layer2"]:
        value[name] = functions[function](combine[how](value[left], value[right]))
    name, function, how, other = entry["cell_inject"]
    value[name] = functions[function](combine[how](value[name], value[other]))
    for name, function, how, (left, right) in entry["layer3"]:
        value[name] = functions[function](combine[how](value[left], value[right]))
    function, how, (left, right) = entry["new_h"]
    expected = functions[function](combine[how](value[left], value[right]))
    output, (_, after) = cell(x, (h, c))
    np.testing.assert_allclose(after, value[entry["new_c"]], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "cell, around, parameters",
    [
        ("darts_v1", "darts_rnn", 22_960_000),  # 23M published
        ("darts_v2", "darts_rnn", 22_960_000),
        ("enas", "darts_rnn", 27_295_000),  # eleven nodes
        ("enas_lm", "enas_lm", 20_800_000),
        # Merity et al.'s 24M: their code's 24,221,600 less its second biases, 4 x (1150+1150+400).
        ("lstm", "awd_lstm", 24_221_600 - 10_800),
        ("lstm", "zaremba_small", 4_651_600),
        ("lstm", "zaremba_medium", 19_775_200),
    ],
)
def test_published_models_have_the_published_sizes(cell, around, parameters):
    chosen = named("skeleton", around, vocabulary=10_000)
    maker = hydra.utils.instantiate(CELLS[cell])
    assert LanguageModel(maker, chosen).count_params() == parameters


def nodes_in_numpy(cell, x, state, input_mask=1.0, state_mask=1.0):
    """One step of the graph, node by node."""
    functions = {
        "sigmoid": sigmoid, "tanh": np.tanh, "identity": lambda v: v,
        "relu": lambda v: np.maximum(v, 0),
    }  # fmt: skip

    def highway(gates, before, function):
        t, h = np.split(gates, 2, axis=1)
        return before + sigmoid(t) * (functions[function](h) - before)

    gates = (x * input_mask) @ np.array(cell.kernel)
    gates = gates + (state * state_mask) @ np.array(cell.recurrent_kernel)
    made = [highway(gates, state, cell.genotype.first)]
    seen: dict[int, int] = {}
    for function, j in cell.genotype.nodes:
        at = seen.get(j, 0)
        seen[j] = at + 1
        kernel = np.array(cell.node_kernels[str(j)])[:, 2 * cell.units * at :]
        kernel = kernel[:, : 2 * cell.units]
        made.append(highway((made[j] * state_mask) @ kernel, made[j], function))
    return np.mean([made[k] for k in cell.genotype.outputs], axis=0)


@pytest.mark.parametrize("name", [n for n in CELLS if "genotype" in CELLS[n]])
def test_found_cells_follow_their_graph(name):
    drops = {"dropout_cell_input": 0.4, "dropout_cell_state": 0.3}
    cell = cell_of(CELLS[name], units=6, **drops)
    rng = np.random.default_rng(0)
    x, state = rng.normal(size=(2, 3)).astype("f"), rng.normal(size=(2, 6)).astype("f")
    (output,) = cell(x, (state,))[1]
    np.testing.assert_allclose(output, nodes_in_numpy(cell, x, state), rtol=1e-4, atol=1e-6)
    noise = cell.noise(2, SEED)
    dropped, _ = cell.step(cell.project(tf.constant(x), noise), (tf.constant(state),), noise)
    expected = nodes_in_numpy(cell, x, state, noise["inputs"].numpy(), noise["states"].numpy())
    np.testing.assert_allclose(dropped, expected, rtol=1e-4, atol=1e-6)


def test_masks_are_one_for_a_sequence_and_differ_from_stream_to_stream():
    cell = NodesCell(200, 200, skeleton(dropout_cell_input=0.75, dropout_cell_state=0.25))
    noise = cell.noise(5, SEED)
    for name, rate in (("inputs", 0.75), ("states", 0.25)):
        kept = noise[name].numpy() != 0
        assert kept.shape == (5, 200) and (kept[0] != kept[1]).any()
        assert kept.mean() == pytest.approx(1 - rate, abs=4 * math.sqrt(rate * (1 - rate) / 1000))
        np.testing.assert_allclose(noise[name].numpy()[kept], 1 / (1 - rate), rtol=1e-6)
    assert NodesCell(2, 2, skeleton()).noise(5, SEED) == {}


def test_the_three_forms_of_enas_cell():
    lm, first, figure = (published(n) for n in ("enas_lm", "enas_rnn", "enas_rnn_darts"))
    assert lm.nodes[0] == ("sigmoid", 0) and lm.outputs == tuple(range(1, 9))
    assert first.first == "tanh" and first.nodes[:3] == (("tanh", 0), ("relu", 1), ("relu", 2))
    assert len(first.nodes) == len(figure.nodes) == 11
    read = {state for _, state in first.nodes}
    assert first.outputs == tuple(k for k in range(12) if k not in read)
    assert figure.outputs == (2, 5, 6, 9, 10, 11)


def test_a_wrong_cell_is_named():
    with pytest.raises(ConfigError, match="cell.genotype must be one of enas_rnn, .* got darts_v2"):
        NodesCell(2, 2, skeleton(), genotype="darts_v2")
    with pytest.raises(ConfigError, match="skeleton.weight_drop must be 0 with .* NodesCell"):
        NodesCell(2, 2, skeleton(weight_drop=0.5))
    with pytest.raises(ConfigError, match="skeleton.dropout_cell_input must be 0 with .*NASCell"):
        NASCell(2, 2, skeleton(dropout_cell_input=0.5))
