"""Training shared recurrent weights equals training each cell; interrupted runs continue."""

import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.controllers.reinforce_softmax import ReinforceSoftmax
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError
from nas.data.text import TextData
from nas.engine.executors import SerialExecutor
from nas.engine.rewards import inverse_perplexity
from nas.engine.search import search
from nas.engine.store import Store
from nas.language.graph import Training
from nas.language.recipe import LanguageRecipe
from nas.oneshot import gates as oneshot_gates
from nas.oneshot import loop as oneshot
from nas.oneshot import paths as oneshot_paths
from nas.oneshot.text_weights import TextWeights
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from tests.helpers.cli import refused
from tests.helpers.hydra_configs import chosen

SPACE = RecurrentNodes(nodes=2, shared="function", normalised=False)
SOFT = RecurrentNodes(nodes=2)
WORDS = 7
RNG = np.random.default_rng(0)
DATA = TextData(
    name="random", words=tuple("abcdefg"),
    **{p: RNG.integers(0, WORDS, n).astype(np.int32) for p, n in
       (("train", 120), ("valid", 60), ("test", 20))},
)  # fmt: skip
SKELETON = LanguageSkeleton(
    vocabulary=WORDS, units=5, embedding=5, layers=1, tied=True, softmax_bias=False
)
RECIPE = LanguageRecipe(
    epochs=3, batch_size=4, bptt=5, random_bptt=True, eval_batch_size=3, learning_rate=1.0,
    clip_norm=0.25, weight_decay=0.01, sum_over_time=False, slowness=0.1,
)  # fmt: skip
REWARD = inverse_perplexity


def weights(space=SPACE, recipe=RECIPE, skeleton=SKELETON):
    return TextWeights(space, skeleton, DATA, recipe, seed=3)


@pytest.fixture(scope="module")
def initial():
    """With what it starts from: its graphs are traced once for the whole file."""
    shared = weights()
    return shared, [v.numpy() for v in shared.variables]


@pytest.fixture
def shared(initial):
    return as_at_first(*initial)


def as_at_first(shared, start):
    for variable, value in zip(shared.variables, start, strict=True):
        variable.assign(value)
    return shared


# The graphs


def test_training_one_path_is_training_that_cell(shared):
    """An epoch of shared weights against nas.language.loop's, from equal weights and sequences."""
    arch, before = (0, 1, 1, 2), [v.numpy() for v in shared.variables]
    model = shared.supernet.static(arch)
    training = Training(model, DATA.train, RECIPE, 0)
    order, rates = shared.batch_order(0), shared.learning_rates(0)
    (loss,) = shared.train(order, rates, [arch] * len(order), 0)
    starts, steps = order.T.astype(np.int32)
    noise = np.array([0, 0], np.int32)
    _, summed = training.graph(model.zero_states(4), starts, steps, rates, np.int32(0), noise)
    assert 0.5 < float(summed) / (4 * steps.sum()) / loss < 2  # of tokens, and of sequences
    again = shared.supernet.static(arch)
    for mine, theirs in zip(again.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    for was, now, is_table in zip(before, shared.variables, shared.supernet.tables, strict=True):
        moved = np.any(was != now.numpy(), axis=(1, 2)) if is_table else np.any(was != now.numpy())
        assert moved.sum() == 1  # of a table one row alone, decay and all


def test_scores_are_the_perplexities_of_the_cells(shared):
    """Streams of 19 tokens hold three sequences of five: 16 tokens of each are read."""
    batches = shared.valid_batches(57, "valid_images")
    assert batches.tolist() == [[0, 19, 38], [5, 24, 43], [10, 29, 48]]
    archs = [(0, 1, 1, 0), (0, 3, 0, 2)]
    perplexities, losses = shared.scores(archs, np.stack([batches] * 2))
    streams = DATA.valid[:57].reshape(3, 19)
    for arch, perplexity, loss in zip(archs, perplexities, losses, strict=True):
        model = shared.supernet.static(arch)
        outputs, _, _ = model.outputs_of(streams[:, :15], model.zero_states(3))
        each = model.losses(outputs, streams[:, 1:16].T.reshape(-1)).numpy()
        assert loss == pytest.approx(each.mean(), rel=1e-5)
        assert perplexity == pytest.approx(np.exp(each.mean()), rel=1e-5)


def test_epochs_and_scores_are_one_trace_each(shared):
    for epoch, arch in enumerate([(0, 0, 1, 0), (0, 1, 0, 2)]):
        order = shared.batch_order(epoch)
        shared.train(order, shared.learning_rates(epoch), [arch] * len(order), epoch)
        shared.scores([arch], shared.sample_batches(np.random.default_rng(0), 1, 2 + epoch))
    assert shared.epoch_graph.experimental_get_tracing_count() == 1
    assert shared.scores_graph.experimental_get_tracing_count() == 1


def test_steps_are_numbered_through_epochs_of_different_lengths(shared):
    """Random lengths: an epoch has as many steps as it needs, the rate goes with the length."""
    lengths = [len(shared.batch_order(epoch)) for epoch in range(3)]
    assert [shared.first_step(epoch) for epoch in (3, 0, 1)] == [sum(lengths), 0, lengths[0]]
    starts, steps = shared.batch_order(0).T
    np.testing.assert_array_equal(starts[1:], np.cumsum(steps)[:-1])
    np.testing.assert_allclose(shared.learning_rates(0), steps / 5, rtol=1e-6)


def test_validation_sequences_begin_again_where_the_text_ends(shared):
    """Streams of 15 validation tokens: five steps and the token after them start at 0 to 9."""
    order = np.array([[0, 7], [9, 5], [10, 5], [21, 6]])
    assert shared.valid_order(0, 1, order).tolist() == [[0, 5], [9, 5], [0, 5], [1, 5]]


# The loop

METHODS = {
    "enas": lambda: oneshot_paths.Paths(
        space=SPACE, controller=ReinforceSoftmax(SPACE, seed=5), reward=REWARD, seed=3,
        path="controller", controller_steps=2, samples_per_step=3, reward_batch_size=4,
    ),
    "evolution": lambda: oneshot_paths.Paths(
        space=SPACE, reward=REWARD, seed=3,
        controller=RegularizedEvolution(SPACE, seed=5, population_size=4, sample_size=2),
    ),
}  # fmt: skip


class Cut(Exception):
    pass


def run(folder, shared, name, cut=None):
    """A whole run: epochs, then up to five trials. cut: ends it behind that epoch."""
    folder.mkdir(exist_ok=True)
    method = METHODS[name]()

    def stop(epoch, values):
        if epoch == cut:
            raise Cut

    with Store(folder) as store:
        history = oneshot.train(shared, method, store, folder, on_epoch=stop)
        score = oneshot.SharedWeightsScore(shared, SKELETON)
        trials = search(method.deriver(), score, REWARD, store, SerialExecutor(), max_trials=5)
    values = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history]
    return values, trials, [v.numpy() for v in shared.variables]


@pytest.mark.parametrize("name", METHODS)
def test_cut_and_continued_equals_uninterrupted(name, initial, tmp_path):
    """Up to the last digits: sums of gradients are not always added up in one order."""
    whole = run(tmp_path / "whole", as_at_first(*initial), name)
    with pytest.raises(Cut):
        run(tmp_path / "cut", as_at_first(*initial), name, cut=1)
    again = run(tmp_path / "cut", as_at_first(*initial), name)
    assert [t.arch for t in again[1]] == [t.arch for t in whole[1]]
    assert [t.reward for t in again[1]] == pytest.approx([t.reward for t in whole[1]], rel=1e-4)
    for mine, theirs in zip(again[0], whole[0], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    for mine, theirs in zip(again[2], whole[2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    for epoch in whole[0]:
        assert epoch["perplexity"] == pytest.approx(np.exp(epoch["loss"]))
        assert "accuracy" not in epoch and ("reward" in epoch) == (name == "enas")
    assert len(whole[1]) == 5
    assert {"valid_perplexity", "valid_loss", "parameters", "flops"} == set(whole[1][0].metrics)


def test_gates_learn_from_validation_tokens_and_weights_from_training_ones():
    shared, method = (
        weights(SOFT),
        oneshot_gates.Gates(space=SOFT, seed=3, adam=oneshot_gates.ADAM | {"learning_rate": 0.1}),
    )
    method.start(shared)
    before, start = [v.numpy() for v in shared.variables], method.weights.numpy()
    for epoch in range(2):
        values = method.epoch(epoch, shared.batch_order(epoch), shared.learning_rates(epoch))
    assert values["valid_perplexity"] == pytest.approx(np.exp(values["valid_loss"]))
    assert (method.weights.numpy() != start).all()
    assert all(np.any(a != b.numpy()) for a, b in zip(before, shared.variables, strict=True))
    assert method.epoch_graph.experimental_get_tracing_count() == 1
    (proposal,) = method.deriver().ask(1)
    SOFT.check(proposal.arch)


def test_second_order_is_the_derivative_of_the_loss_behind_a_step():
    """Along two directions of the choices' weights, with no limit on the step's gradients."""
    recipe = RECIPE.replace(clip_norm=None, weight_decay=0.01)
    shared = weights(SOFT, recipe=recipe)
    method = oneshot_gates.Gates(space=SOFT, seed=3, order=2)
    method.start(shared)
    order, rate, number = shared.batch_order(0), tf.constant(0.5), tf.constant(0)
    rows = {
        "train": tf.constant(order[0], tf.int32),
        "valid": tf.constant(shared.valid_order(0, 0, order)[0], tf.int32),
    }

    def loss(part):
        gates = method.gates(method.weights, tf.constant(1.0), tf.constant([0, 0]))
        return shared.loss(part, rows[part], gates, number, shared.initial_state())

    @tf.function(autograph=False)
    def gradient_of_gates():
        return method._gradient(lambda: loss("train"), lambda: loss("valid"), rate)[0]

    @tf.function(autograph=False)
    def behind_a_step():
        before = [tf.identity(v) for v in shared.trained]
        with tf.GradientTape() as tape:
            value = loss("train")[0][0]
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(value, shared.trained)]
        for v, there in zip(shared.trained, shared.ahead(gradients, rate), strict=True):
            v.assign(there)
        result = loss("valid")[0][0]
        for v, start in zip(shared.trained, before, strict=True):
            v.assign(start)
        return result

    gradient, start = gradient_of_gates().numpy(), method.weights.numpy()
    rng = np.random.default_rng(0)
    for _ in range(2):
        way = rng.normal(size=start.shape) * ~method.closed
        losses = []
        for step in (0.02, -0.02):
            method.weights.assign(start + step * way)
            losses.append(float(behind_a_step()))
        method.weights.assign(start)
        quotient = (losses[0] - losses[1]) / 0.04
        assert float((gradient * way).sum()) == pytest.approx(quotient, rel=0.05, abs=2e-5)


# What is refused


def test_a_text_that_is_too_short_is_told():
    with pytest.raises(ConfigError, match="streams must be longer than recipe.bptt . 1 = 6.*valid"):
        weights(recipe=RECIPE.replace(batch_size=10))


def test_a_score_of_fewer_tokens_than_it_can_read_is_told(shared):
    with pytest.raises(ConfigError, match=r"valid_images must be in \[18, 60\], .* got 6"):
        oneshot.SharedWeightsScore(shared, SKELETON, size=6)


def test_a_step_ahead_needs_decay_behind_the_clipped_gradient():
    method = oneshot_gates.Gates(space=SOFT, seed=3, order=2)
    shared = weights(SOFT, recipe=RECIPE.replace(clip_decay=True))
    with pytest.raises(ConfigError, match="recipe.clip_decay must be false where method.order=2"):
        method.start(shared)


def test_only_gradient_descent_moves_shared_weights_of_a_text():
    with pytest.raises(ConfigError, match="recipe.optimizer must be sgd for shared weights of a t"):
        weights(recipe=RECIPE.replace(optimizer="adam"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["space=nasbench201", "dataset=grammar"], "nas oneshot needs images, got grammar"),
        (["space=darts_rnn", "recipe=search"], "nas oneshot needs a recipe of language models"),
        (
            ["space=darts_rnn", "batch_statistics=false"],
            "batch_statistics must be true with a text",
        ),
        (["space=darts_rnn", "probe=trained"], "probe must be left out with a text"),
    ],
    ids=["text", "recipe", "moments", "probe"],
)
def test_what_does_not_fit_a_text_is_told(words, said, tmp_path):
    small = ("dataset.train_size=2000", "dataset.valid_size=500", "dataset.test_size=500")
    assert said in refused("oneshot", *words, *small, f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_a_recurrent_space_brings_a_text_along():
    said = chosen("oneshot", "space=darts_rnn", "method=darts")
    text = {"dataset": "grammar", "recipe": "grammar", "skeleton": "grammar"}
    assert said.items() >= (text | {"reward": "perplexity", "retrain": "language"}).items()
    assert chosen("oneshot", "space=darts")["dataset"] == "digits"
