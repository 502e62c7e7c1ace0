"""The language loop: published sizes, evaluation, recurrent state, dropouts, resuming."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import NAN, TIMEOUT, ConfigError, EvaluationError
from nas.data.text import TextData
from nas.language import loop as language
from nas.language.checkpoint import Progress, Snapshot
from nas.language.graph import EvaluationLoop, Training, cut, descend, objective_of
from nas.language.recipe import LanguageRecipe, sequences, starts_averaging
from nas.search_spaces.recurrent.cell import LSTM
from nas.search_spaces.recurrent.language_model import LanguageModel, softmax_losses

SEED = tf.constant([3, 4])


def small_text(length=240, words=11, seed=0):
    """A text in which each word depends on the one before."""
    rng = np.random.default_rng(seed)
    streams = []
    for _ in range(3):
        tokens = [0]
        for _ in range(length - 1):
            tokens.append((2 * tokens[-1] + int(rng.integers(1, 4))) % words)
        streams.append(np.array(tokens, np.int32))
    names = tuple(map(str, range(words)))
    return TextData(name="t", train=streams[0], valid=streams[1], test=streams[2], words=names)


def network(seed=0, **settings):
    small = {"vocabulary": 11, "units": 6, "embedding": 5, "layers": 2}
    return language.build(lambda: LanguageModel(LSTM, LanguageSkeleton(**(small | settings))), seed)


def recipe(**settings):
    return LanguageRecipe(**({"epochs": 2, "batch_size": 4, "bptt": 7} | settings))


def losses_in_numpy(model, tokens, states=None):
    """The loss of each token but the first, in nats, one step at a time; and the last states."""
    w = [np.array(v) for v in model.trainable_variables]
    embedding, softmax, bias, *cells = w
    layers = [cells[i : i + 3] for i in range(0, len(cells), 3)]
    states = states or [(np.zeros(len(u)), np.zeros(len(u))) for _, u, _ in layers]
    losses = []
    for token, following in zip(tokens, tokens[1:], strict=False):
        x, after = embedding[token], []
        for (kernel, recurrent, b), (h, c) in zip(layers, states, strict=True):
            i, f, g, o = np.split(x @ kernel + h @ recurrent + b, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            x = np.tanh(c) / (1 + np.exp(-o))
            after.append((x, c))
        states = after
        scores = softmax @ x + bias
        losses.append(math.log(np.exp(scores).sum()) - scores[following])
    return np.array(losses), states


@pytest.mark.parametrize(
    "units, parameters", [(200, 4_651_600), (650, 19_775_200), (1500, 66_022_000)]
)
def test_zarembas_three_sizes(units, parameters):
    """4.65, 19.8 and 66 million weights (Zaremba et al. 2014, section 4.1), one bias per layer."""
    skeleton = LanguageSkeleton(vocabulary=10_000, units=units, embedding=units)
    assert LanguageModel(LSTM, skeleton).count_params() == parameters


@pytest.mark.parametrize("streams", [1, 2, 3, 7, 10, 239])
def test_evaluation_counts_every_token_but_the_first_once(streams):
    model, tokens = network(init=0.8, init_embedding=2.0), small_text().valid
    length = -(-(len(tokens) - 1) // streams)
    expected = [
        losses_in_numpy(model, tokens[start : start + length + 1])[0]
        for start in range(0, len(tokens) - 1, length)
    ]
    expected = np.concatenate(expected)
    assert len(expected) == len(tokens) - 1
    assert expected.std() > 0.3  # a token dropped or counted twice would show
    found = EvaluationLoop(model, tokens, streams, recipe()).run()
    assert found == pytest.approx(expected.mean(), rel=1e-5)


def test_evaluations_targets_are_the_inputs_shifted_by_one():
    inputs, targets, weights = cut(np.arange(12, dtype=np.int32), 3)
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 0]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0]]
    assert weights.tolist() == [[1] * 4, [1] * 4, [1, 1, 1, 0]]


def test_equal_guesses_have_the_vocabularys_perplexity():
    model = LanguageModel(LSTM, LanguageSkeleton(vocabulary=10_000, units=3, embedding=3))
    for variable in model.trainable_variables:
        variable.assign(tf.zeros(variable.shape))
    tokens = np.arange(500, dtype=np.int32)
    loss = EvaluationLoop(model, tokens, 4, recipe()).run()
    assert language.perplexity(loss) == pytest.approx(10_000, rel=1e-4)


def test_random_weights_are_near_equal_guesses():
    """Within 1 % of 10,000 with weights in +-0.1, as Zaremba et al.'s small model starts."""
    skeleton = LanguageSkeleton(vocabulary=10_000, units=200, embedding=200)
    model = language.build(lambda: LanguageModel(LSTM, skeleton), 0)
    tokens = np.random.default_rng(0).integers(0, 10_000, 2000).astype(np.int32)
    loss = EvaluationLoop(model, tokens, 10, recipe()).run()
    assert language.perplexity(loss) == pytest.approx(10_000, rel=0.01)


def test_the_state_is_carried_from_sequence_to_sequence_and_call_to_call():
    """With a learning rate near 0 an epoch's loss is that of each stream read in one go."""
    model, tokens = network(init=0.8, init_embedding=2.0), small_text().train
    streams = tokens.reshape(4, 60)
    read = 59 // 7 * 7  # whole sequences
    expected = np.mean([losses_in_numpy(model, row[: read + 1])[0] for row in streams])
    for steps_per_call in (None, 3):
        training = Training(
            model, tokens, recipe(learning_rate=1e-9, steps_per_call=steps_per_call), 0
        )
        assert training.epoch(0) == pytest.approx(expected, rel=1e-5)
    training = Training(model, tokens, recipe(), 0)
    first, _ = training.graph(
        model.zero_states(4),
        tf.constant([0, 7]),
        tf.constant([7, 7]),
        tf.constant([0.0, 0.0]),
        tf.constant(0),
        SEED,
    )
    for layer, (h, c) in enumerate(first):
        state = losses_in_numpy(model, streams[2][:15])[1][layer]
        np.testing.assert_allclose(h[2], state[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(c[2], state[1], rtol=1e-4, atol=1e-6)


def test_one_step_is_plain_descent_of_the_sum_over_time():
    """Loss summed over the steps and averaged over streams, gradient clipped (ptb_word_lm.py)."""
    model, tokens = network(), small_text(length=32).train
    training = Training(model, tokens, recipe(clip_norm=0.5, learning_rate=0.7), 0)
    before = [tf.constant(v.numpy()) for v in training.variables]
    with tf.GradientTape() as tape:
        x, y = training.streams[:, :7], training.streams[:, 1:]
        logits = model(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y[:, :7], logits=logits)
        loss = tf.reduce_sum(loss) / 4
    gradients = tape.gradient(loss, training.variables)
    dense = [tf.convert_to_tensor(g) for g in gradients]
    clipped, norm = tf.clip_by_global_norm(dense, 0.5)
    assert norm > 0.5
    training.epoch(0)
    for variable, old, gradient in zip(training.variables, before, clipped, strict=True):
        np.testing.assert_allclose(variable, old - 0.7 * gradient, rtol=1e-4, atol=1e-6)


def test_descent_adds_rows_gathered_twice_and_decays_every_weight():
    table, other = tf.Variable(np.ones((4, 2), np.float32)), tf.Variable([1.0, 2.0])
    rows = tf.IndexedSlices(tf.constant([[3.0, 0.0], [1.0, 0.0], [0.0, 4.0]]), [1, 3, 3])
    norm = math.sqrt(9 + 1 + 16 + 0.25)
    scale = 0.1 * 2 / norm
    chosen = recipe(clip_norm=2.0, weight_decay=0.5)
    descend([table, other], [rows, tf.constant([0.5, 0.0])], tf.constant(0.1), chosen)
    expected = 0.95 - scale * np.array([[0, 0], [3, 0], [0, 0], [1, 4]])
    np.testing.assert_allclose(table, expected, rtol=1e-6)
    np.testing.assert_allclose(other, [0.95 - scale * 0.5, 1.9], rtol=1e-6)


def test_weight_decay_inside_the_clipped_gradient():
    """enas_lm: the decay of every row takes part in the norm; w = 1, gradients 3 and 0."""
    table = tf.Variable(np.ones((2, 1), np.float32))
    rows = tf.IndexedSlices(tf.constant([[3.0]]), [0])
    chosen = recipe(clip_norm=1.0, weight_decay=0.5, clip_decay=True)
    descend([table], [rows], tf.constant(0.1), chosen)
    norm = math.sqrt(3.5**2 + 0.5**2)
    np.testing.assert_allclose(table, [[1 - 0.35 / norm], [1 - 0.05 / norm]], rtol=1e-6)


def test_cubes_of_the_rows_that_were_read():
    """Of a table alone: 0.5 * 2 * 2^3 = 8 is added to the row that was read."""
    table, other = tf.Variable([[2.0], [2.0]]), tf.Variable([2.0])
    rows = tf.IndexedSlices(tf.constant([[1.0]]), [1])
    chosen = recipe(clip_norm=None, weight_decay=0.5, clip_decay=True, decay_rule="cubes")
    descend(
        [table, other], [rows, tf.constant([1.0])], tf.constant(0.1), chosen, [True, False],
        [True, False],
    )  # fmt: skip
    np.testing.assert_allclose(table, [[2.0], [2.0 - 0.1 * 9]], rtol=1e-6)
    np.testing.assert_allclose(other, [1.9], rtol=1e-6)


def test_activations_are_regularised_before_or_behind_dropout():
    outputs, dropped = tf.fill([2, 3, 4], 2.0), tf.fill([2, 3, 4], 8.0)
    for of_dropped, squares in ((True, 64.0), (False, 4.0)):
        chosen = recipe(activation_regularization=0.5, dropped_activations=of_dropped)
        found = objective_of(chosen, tf.constant(0.0), outputs, dropped)
        assert float(found) == pytest.approx(0.5 * squares)


def test_softmax_losses_and_their_gradients_are_tensorflows():
    rng = np.random.default_rng(0)
    inputs = [tf.constant(rng.normal(size=s), tf.float32) for s in ((6, 4), (9, 4), (9,))]
    targets, upstream = tf.constant([0, 8, 3, 3, 1, 0]), tf.constant(rng.random(6), tf.float32)
    found = []
    for tensorflows in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            if tensorflows:
                scores = tf.matmul(inputs[0], inputs[1], transpose_b=True) * 30.0 + inputs[2]
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=targets, logits=scores
                )
            else:  # scores in the hundreds overflow without the largest taken off
                losses = softmax_losses(inputs[0] * 30.0, inputs[1], inputs[2], targets)
        found.append([losses, *tape.gradient(losses, inputs, upstream)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_zarembas_learning_rates():
    rates = [LanguageRecipe().rate(epoch) for epoch in range(13)]
    assert rates[:4] == [1, 1, 1, 1] and rates[4] == 0.5 and rates[12] == 2**-9


def test_the_epochs_of_penn_treebank_have_the_tutorials_steps():
    rng = np.random.default_rng(0)
    starts, steps = sequences(LanguageRecipe(), 929_589 // 20, rng)
    assert len(starts) == 2323 and starts[1] == 20 and set(steps) == {20}
    assert len(sequences(LanguageRecipe(bptt=35), 929_589 // 20, rng)[0]) == 1327


def test_random_sequences_cover_the_text_and_have_merity_et_als_lengths():
    chosen = LanguageRecipe(bptt=70, random_bptt=True)
    starts, steps = sequences(chosen, 400_000, np.random.default_rng(0))
    assert (starts[1:] == np.cumsum(steps)[:-1]).all() and 399_998 <= steps.sum() <= 399_999
    assert min(steps[:-1]) >= 5
    short = steps < 50  # 35 +- 5 in a share of 0.05; 5876 draws: sd 0.0028
    assert np.mean(short) == pytest.approx(0.05, abs=4 * 0.0028)
    assert steps[~short].mean() == pytest.approx(69.5, abs=4 * 5 / math.sqrt(5500))
    longest = dataclasses.replace(chosen, bptt=35, max_bptt=40)
    assert sequences(longest, 50_000, np.random.default_rng(0))[1].max() == 40


def test_random_lengths_are_one_trace_and_carry_the_state():
    model, tokens = network(init=0.8, init_embedding=2.0), small_text().train
    chosen = recipe(random_bptt=True, bptt=9, learning_rate=1e-9)
    training = Training(model, tokens, chosen, 0)
    expected = np.mean([losses_in_numpy(model, row)[0] for row in tokens.reshape(4, 60)])
    for number in range(3):  # a single last step may be left out
        assert training.epoch(number) == pytest.approx(expected, rel=0.02)
    assert training.graph.experimental_get_tracing_count() == 1


def test_all_epochs_are_one_trace():
    training = Training(network(dropout_hidden=0.3), small_text().train, recipe(), 0)
    for number in range(3):
        training.epoch(number)
    assert training.graph.experimental_get_tracing_count() == 1
    validation = EvaluationLoop(network(), small_text().valid, 3, recipe())
    assert validation.run() == validation.run()
    assert validation.graph.experimental_get_tracing_count() == 1


def outputs(model, seed, time=9):
    tokens = tf.zeros([4, time], tf.int32)
    return model.outputs_of(tokens, model.zero_states(4), seed)


def test_dropout_acts_in_training_alone_and_repeats_with_its_seed():
    model = network(dropout_input=0.4, dropout_hidden=0.4, dropout_output=0.4)
    first, again, other = (outputs(model, s)[1].numpy() for s in (SEED, SEED, SEED + 1))
    assert (first == again).all() and (first != other).any()
    raw, dropped, _ = outputs(model, None)
    assert (raw.numpy() == dropped.numpy()).all()


def test_variational_masks_are_one_for_all_steps_and_others_are_not():
    for variational in (True, False):
        model = network(dropout_output=0.5, variational=variational, units=50)
        raw, dropped, _ = outputs(model, SEED)
        kept = dropped.numpy() != 0
        np.testing.assert_allclose(dropped.numpy()[kept], 2 * raw.numpy()[kept], rtol=1e-5)
        assert kept.mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(200))
        assert (kept == kept[0]).all() == variational


def test_dropped_words_are_dropped_whole_wherever_they_stand():
    model = network(dropout_word=0.5, embedding=4)
    tokens = tf.constant(np.arange(44).reshape(4, 11) % 11, tf.int32)
    embedded = model._embedded(tokens, SEED).numpy()  # [time, batch, embedding]
    kept = embedded.any(-1)
    assert (kept == kept[:, :1]).all() and 0 < kept.sum() < kept.size
    full = model._embedded(tokens, None).numpy()
    np.testing.assert_allclose(embedded[kept], 2 * full[kept], rtol=1e-6)


def test_weight_drop_hides_the_same_recurrent_weights_for_a_sequence():
    model = network(weight_drop=0.5)
    dropped = model.cells[0].noise(4, SEED)["recurrent_kernel"].numpy()
    kernel = model.cells[0].recurrent_kernel.numpy()
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 2 * kernel[kept], rtol=1e-6)
    assert kept.mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(kept.size))


def test_tied_weights_are_the_embeddings():
    tied, free = network(tied=True, units=5), network(units=5)
    assert free.count_params() - tied.count_params() == 5 * 11
    training = Training(tied, small_text().train, recipe(clip_norm=None), 0)
    assert training.epoch(3) < training.epoch(0) or training.epoch(4) < math.log(11)


def test_activation_regularization_and_slowness_by_hand():
    """alpha * mean(dropped^2) + beta * mean(change^2), Merity et al. 2018, section 4.5."""
    losses = []
    for settings in ({}, {"activation_regularization": 2.0, "slowness": 3.0}):
        model = network()
        training = Training(
            model,
            small_text(length=32).train,
            recipe(learning_rate=1.0, clip_norm=None, **settings),
            0,
        )
        before = [v.numpy() for v in training.variables]
        training.epoch(0)
        losses.append([b - v.numpy() for b, v in zip(before, training.variables, strict=True)])
    model = network()
    with tf.GradientTape() as tape:
        x = training.streams[:, :7]
        raw, dropped, _ = model.outputs_of(x, model.zero_states(4), SEED)
        changes = raw[1:] - raw[:-1]
        extra = 2 * tf.reduce_mean(dropped**2) + 3 * tf.reduce_mean(changes**2)
    variables = [v.value for v in model.trainable_variables]
    for gradient, plain, regular in zip(tape.gradient(extra, variables), *losses, strict=True):
        if gradient is not None:
            np.testing.assert_allclose(
                regular - plain, tf.convert_to_tensor(gradient), rtol=1e-2, atol=1e-6
            )


def test_averaging_starts_where_merity_et_als_code_starts_it():
    """Algorithm 1: worse than the best evaluation, the last five before it left out."""
    seen = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert not starts_averaging(seen, 9.0, 5)  # too few
    assert not starts_averaging([*seen, 1.5], 4.9, 5)
    assert starts_averaging([*seen, 1.5], 5.1, 5)
    assert starts_averaging([*seen, 1.5, 1.6], 4.5, 5)


def test_averages_are_the_mean_of_the_weights_since_they_began():
    chosen = recipe(nonmonotone=1, steps_per_call=1, bptt=9)
    training = Training(network(), small_text(40).train, chosen, 0)  # one step an epoch
    training.epoch(0)
    training.start_averaging()
    weights = []
    for number in (1, 2, 3):
        training.epoch(number)
        weights.append(Snapshot.of(training).weights)
    for i, average in enumerate(training.averages):
        np.testing.assert_allclose(average, np.mean([w[i] for w in weights], 0), atol=1e-6)


def test_what_is_tested_is_the_average_and_training_goes_on_from_the_weights():
    chosen = recipe(epochs=12, nonmonotone=1, keep_best=True, learning_rate=3.0)
    model, data = network(layers=1), small_text()
    history = language.fit(model, data, chosen, seed=0, test=True)
    found = EvaluationLoop(model, data.valid, chosen.eval_batch_size, chosen).run()
    assert math.exp(found) == pytest.approx(min(history["valid_perplexity"]), rel=1e-5)
    tested = EvaluationLoop(model, data.test, 1, chosen).run()
    assert history["test_perplexity"] == [pytest.approx(math.exp(tested), rel=1e-6)]


SETTINGS = {
    "plain": {},
    "random lengths": {"random_bptt": True},
    "averaging": {"nonmonotone": 1, "keep_best": True, "learning_rate": 3.0},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "clip_norm": 0.5, "weight_decay": 0.01},
}
SETTINGS["averaging, random lengths"] = SETTINGS["random lengths"] | SETTINGS["averaging"]
EACH_ALONE = {"plain", "random lengths", "averaging"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in EACH_ALONE else n for n in SETTINGS]
)
def test_a_stopped_training_ends_as_one_that_was_not(tmp_path, name):
    chosen, data = recipe(epochs=5, **SETTINGS[name]), small_text()
    dropouts = {"dropout_hidden": 0.2, "weight_drop": 0.1}

    class Stop(Exception):
        pass

    def stop(epoch, values):
        if epoch == 2:
            raise Stop

    whole = network(**dropouts)
    expected = language.fit(whole, data, chosen, seed=0, test=True)
    file = tmp_path / "checkpoint.npz"
    with pytest.raises(Stop):
        language.fit(network(**dropouts), data, chosen, seed=0, checkpoint=file, on_epoch=stop)
    model = network(seed=9, **dropouts)
    history = language.fit(model, data, chosen, seed=0, test=True, checkpoint=file)
    del expected["seconds"], history["seconds"]
    assert history == expected
    for a, b in zip(model.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    file, data = tmp_path / "checkpoint.npz", small_text()
    language.fit(network(layers=1), data, recipe(epochs=1), seed=0, checkpoint=file)
    with pytest.raises(ConfigError, match="must be the checkpoint of this model, got weights of"):
        language.fit(network(layers=1, units=7), data, recipe(), seed=0, checkpoint=file)


def test_equal_seeds_train_alike():
    data = small_text()
    small = {"layers": 1, "dropout_output": 0.2}
    first, again, other = (
        language.fit(network(**small), data, recipe(), seed=seed)["train_perplexity"]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_loss_that_is_not_finite_ends_or_rolls_back(monkeypatch):
    data, chosen = small_text(), recipe(epochs=3, rollbacks=1)
    epoch, attempts = Training.epoch, []

    def sick(self, number, attempt=0):
        attempts.append((number, attempt))
        loss = epoch(self, number, attempt)
        if number == 1 and (attempt == 0 or chosen.rollbacks == 0):
            self.variables[0].assign(np.nan * self.variables[0])
            return math.nan
        return loss

    monkeypatch.setattr(Training, "epoch", sick)
    history = language.fit(network(layers=1), data, chosen, seed=0)
    assert attempts == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert np.isfinite(history["valid_perplexity"]).all() and len(history["seconds"]) == 3
    attempts.clear()
    chosen = recipe(epochs=3, rollbacks=None)  # as often as needed
    language.fit(network(layers=1), data, chosen, seed=0)
    assert attempts == [(0, 0), (1, 0), (1, 1), (2, 1)]
    chosen = recipe(epochs=3)
    with pytest.raises(EvaluationError, match="the loss is nan after epoch 2") as caught:
        language.fit(network(layers=1), data, chosen, seed=0)
    assert caught.value.status == NAN


def test_a_validation_loss_that_is_not_finite_is_a_failure_as_well(monkeypatch):
    monkeypatch.setattr(EvaluationLoop, "run", lambda self: math.inf)
    with pytest.raises(EvaluationError, match="the validation loss is inf after epoch 1") as caught:
        language.fit(network(layers=1), small_text(), recipe(), seed=0)
    assert caught.value.status == NAN


def test_time_runs_out():
    with pytest.raises(EvaluationError, match="1 of 2 epochs took") as caught:
        language.fit(network(layers=1), small_text(), recipe(), seed=0, max_seconds=0.0)
    assert caught.value.status == TIMEOUT


def test_progress_keeps_the_best():
    def snapshot(value):
        return Snapshot((np.array([value]),), (), -1)

    progress = Progress(snapshot(0.0))
    for value in (3.0, 2.0, 4.0):
        progress.add(snapshot(value), {"valid_perplexity": value}, keep_best=True)
    assert progress.best.weights[0] == 2.0 and progress.now.weights[0] == 4.0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epochs": 0}, "recipe.epochs must be a whole number, at least 1, got 0"),
        ({"decay": 0.0}, "recipe.decay must be above 0, got 0.0"),
        ({"weight_decay": -1.0}, "recipe.weight_decay must not be negative, got -1.0"),
        ({"max_bptt": 10}, "recipe.max_bptt must be null or at least recipe.bptt=20, got 10"),
        ({"random_bptt": True, "bptt": 4}, "recipe.bptt must be at least 5 .* got 4"),
        ({"slowness": 1.0, "bptt": 1}, "recipe.bptt must be at least 2 with .*slowness, got 1"),
        ({"xla": True, "random_bptt": True}, "recipe.xla must be auto or false with .* got True"),
        ({"xla": "yes"}, "recipe.xla must be auto, true or false, got yes"),
    ],
)
def test_a_wrong_recipe_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        LanguageRecipe(**settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"units": 0}, "skeleton.units must be a whole number, at least 1, got 0"),
        ({"last_units": 1.5}, "skeleton.last_units must be a whole number, .* got 1.5"),
        ({"dropout_word": 1.0}, r"skeleton.dropout_word must be in \[0, 1\), got 1.0"),
        ({"init": 0.0}, "skeleton.init must be above 0, got 0.0"),
        ({"tied": True}, "skeleton.tied needs .* got 6 and 5; set skeleton.last_units=5"),
        ({"dropout_cell_state": 0.1}, "skeleton.dropout_cell_state must be 0 with .*LSTM, got 0.1"),
    ],
)
def test_a_wrong_skeleton_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        network(**settings)


def test_a_text_too_short_for_its_streams_is_named():
    with pytest.raises(ConfigError, match="recipe.batch_size .* got 4 .* 20 tokens"):
        Training(network(), small_text(length=20).train, recipe(), 0)
