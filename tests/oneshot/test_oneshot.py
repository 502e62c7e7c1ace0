"""Training shared weights equals training each network; an interrupted run continues exactly."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.controllers.reinforce_softmax import ReinforceSoftmax
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.engine.executors import SerialExecutor
from nas.engine.proposers import Listed, ask, likeliest
from nas.engine.rewards import accuracy
from nas.engine.search import best, search
from nas.engine.store import Store
from nas.oneshot import gates as oneshot_gates
from nas.oneshot import loop as oneshot
from nas.oneshot import paths as oneshot_paths
from nas.oneshot.choice_shares import shares
from nas.oneshot.image_weights import ImageWeights, even_batches, order_of
from nas.oneshot.optimizer import GroupedOptimizer
from nas.ops.drawn_gates import DrawnGates, weigh
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers.small_images import make, some
from tests.helpers.toy_supernet import Toy

SPACE = Toy()
DATA = make(*some(60, shape=(6, 6, 3)))
SKELETON = ImageSkeleton(image_shape=DATA.image_shape, classes=DATA.classes, channels=4)
RECIPE = Recipe(
    epochs=3, batch_size=16, learning_rate=0.05, weight_decay=0.01, pad_crop=1, flip=True
)

ADAM = oneshot_gates.ADAM | {"learning_rate": 0.1}


def weights(recipe=RECIPE, skeleton=SKELETON, batch_statistics=True):
    return ImageWeights(SPACE, skeleton, DATA, recipe, seed=3, batch_statistics=batch_statistics)


@functools.cache
def initial():
    shared = weights()
    return shared, snapshot(shared)


def fresh():
    """Shared weights with their initial values; their graphs are traced once for all tests."""
    shared, first = initial()
    for tensor, value in zip(shared.tensors, first, strict=True):
        tensor.assign(value)
    return shared


@pytest.fixture
def shared():
    return fresh()


def snapshot(shared):
    return [t.numpy() for t in shared.tensors]


def one_epoch(recipe=RECIPE, epoch=0):
    order = order_of(3, epoch, len(DATA.train_images), recipe.batch_size)
    return order, np.full(len(order), 0.05, np.float32)


# The optimiser


def moved(recipe, active, steps=3):
    """Two groups of a kernel each, after some steps; and what plain optimisers make of them."""
    groups = [[keras.Variable(np.ones([2, 2], np.float32))] for _ in active]
    optimizer = GroupedOptimizer(recipe, groups)
    for step in range(steps):
        gradients = [[tf.fill([2, 2], 1.0 + i)] for i in range(len(active))]
        optimizer.apply(gradients, active, tf.constant(0.1), tf.constant(step))
    return [group[0].numpy() for group in groups], [slot.numpy() for slot in optimizer.slots]


@pytest.mark.parametrize("kind", ["sgd", "adam", "rmsprop"])
def test_what_a_step_has_not_used_does_not_move(kind):
    recipe = Recipe(optimizer=kind, weight_decay=0.1)
    (on, off), slots = moved(recipe, [True, tf.constant(False)])
    assert (off == 1).all() and not np.any(slots[len(slots) // 2 :])
    (alone,), _ = moved(recipe, [True])
    np.testing.assert_array_equal(on, alone)
    (_, both), _ = moved(recipe, [True, tf.constant(True)])
    assert (both != 1).all()


def test_clipping_sees_only_what_was_used():
    """Gradients of ones (norm 2) and, where used, of twos (norm 4): one plain step of rate 0.1."""
    recipe = Recipe(momentum=0.0, clip_norm=1.0)
    (on, _), _ = moved(recipe, [True, tf.constant(False)], steps=1)
    np.testing.assert_allclose(on, 1 - 0.1 / 2, rtol=1e-6)
    (on, other), _ = moved(recipe, [True, tf.constant(True)], steps=1)
    np.testing.assert_allclose(on, 1 - 0.1 / np.sqrt(20), rtol=1e-6)
    np.testing.assert_allclose(other, 1 - 0.2 / np.sqrt(20), rtol=1e-6)
    # Weights of 1 that decay by 0.5: gradients of 1.5 are clipped together, or of 1 alone.
    recipe = Recipe(momentum=0.0, clip_norm=1.0, weight_decay=0.5)
    (on,), _ = moved(recipe, [True], steps=1)
    np.testing.assert_allclose(on, 1 - 0.1 * 1.5 / 3, rtol=1e-6)
    (on,), _ = moved(recipe.replace(clip_decay=False), [True], steps=1)
    np.testing.assert_allclose(on, 1 - 0.1 * (1 / 2 + 0.5), rtol=1e-6)
    (on,), _ = moved(Recipe(momentum=0.0, clip_norm=5.0), [True], steps=1)
    np.testing.assert_allclose(on, 1 - 0.1, rtol=1e-6)


# The graphs


@pytest.mark.parametrize("arch", [(2, 0), (3, 1)], ids=str)
def test_training_one_path_is_training_that_network(arch):
    """An epoch of the shared weights against nas.training.loop's, from the same start."""
    shared, alone = fresh(), weights()
    before = {v.path: v.numpy() for v in shared.supernet.variables}
    order, rates = one_epoch()
    loss, _ = shared.train(order, rates, [arch] * len(order), 0)
    model = alone.supernet.static(arch)
    train = image.EpochLoop(model, DATA, RECIPE, seed=shared.seed)
    assert train.run(order.astype(np.int32), rates, 0)[0] == pytest.approx(loss, rel=1e-5)
    used = {v.path for v in model.variables}
    for mine, theirs in zip(shared.supernet.variables, alone.supernet.variables, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
        if mine.path not in used:
            np.testing.assert_array_equal(mine, before[mine.path])
    assert len(used) < len(before)


def test_paths_and_scores_are_one_trace_each(shared):
    order, rates = one_epoch()
    for epoch, arch in enumerate([(0, 0), (2, 1), (3, 2)]):
        shared.train(order, rates, [arch] * len(order), epoch)
        shared.scores([arch], np.zeros([1, 1, 3], np.int32))
        shared.scores([arch] * 2, np.zeros([2, 2, 5], np.int32))
    assert shared.epoch_graph.experimental_get_tracing_count() == 1
    assert shared.scores_graph.experimental_get_tracing_count() == 1


def test_scores_are_those_of_the_networks():
    shared = weights(batch_statistics=False)
    batches = even_batches(len(DATA.valid_images), 3)
    archs = [(2, 1), (1, 0)]
    scores = shared.scores(archs, np.stack([batches] * 2))
    for arch, path_accuracy, path_loss in zip(archs, *scores, strict=True):
        model = shared.supernet.static(arch)
        size = batches.size
        scored = dataclasses.replace(
            DATA, valid_images=DATA.valid_images[:size], valid_labels=DATA.valid_labels[:size]
        )
        evaluate = image.make_evaluate(model, scored, RECIPE, "valid")
        np.testing.assert_allclose(evaluate(), (path_loss, path_accuracy), rtol=1e-5)


def test_even_batches_leave_out_less_than_one_each():
    assert even_batches(10, 5).shape == (2, 5)
    assert even_batches(287, 512).shape == (1, 287)
    assert even_batches(11, 4).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_several_devices_are_refused():
    with pytest.raises(ConfigError, match="recipe.several_devices must be false for shared"):
        weights(RECIPE.replace(several_devices=True))


# The loop


METHODS = {
    "evolution": lambda: oneshot_paths.Paths(
        space=SPACE,
        controller=RegularizedEvolution(SPACE, seed=5, population_size=4, sample_size=2),
        reward=accuracy,
        seed=3,
    ),
    "enas": lambda: oneshot_paths.Paths(
        space=SPACE, controller=ReinforceSoftmax(SPACE, seed=5), reward=accuracy, seed=3,
        path="controller", controller_steps=2, samples_per_step=3, reward_batch_size=4,
    ),
    "darts": lambda: oneshot_gates.Gates(space=SPACE, seed=3, adam=ADAM),
    "darts2": lambda: oneshot_gates.Gates(space=SPACE, seed=3, adam=ADAM, order=2),
    "gdas": lambda: oneshot_gates.Gates(space=SPACE, seed=3, adam=ADAM, kind="gumbel"),
    "drawn": lambda: oneshot_gates.Gates(
        space=SPACE, seed=3, adam=ADAM, kind="drawn", weights_first=True
    ),
    "setn": lambda: oneshot_gates.Gates(
        space=SPACE, seed=3, adam=ADAM, kind="template", weights_first=True,
        derivation={"architectures": 5, "batch_size": None},
    ),
}  # fmt: skip


class Cut(Exception):
    pass


def run(folder, method, *, cut_save=None, cut_epoch=None, cut_trial=None):
    """A whole run: epochs, then up to five trials. Returns all there is to compare.

    cut_save: the run ends with the checkpoint of that epoch written and nothing else.
    """
    folder.mkdir(exist_ok=True)
    shared, method = fresh(), METHODS[method]()

    def stop(at, now):
        if at == now:
            raise Cut

    with Store(folder) as store:
        if cut_save is not None:
            save = store.save
            store.save = lambda state: (stop(cut_save, state["epochs"] - 1), save(state=state))
        history = oneshot.train(
            shared, method, store, folder, on_epoch=lambda epoch, _: stop(cut_epoch, epoch)
        )
        score = oneshot.SharedWeightsScore(shared, SKELETON)
        trials = search(
            method.deriver(), score, accuracy, store, SerialExecutor(), max_trials=5,
            on_trial=lambda trial: stop(cut_trial, trial.id),
        )  # fmt: skip
        state = store.controller_state()
    values = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history]
    rows = [(t.id, t.arch, t.reward) for t in trials]
    return values, rows, str(state), [*snapshot(shared), *(t.numpy() for t in method.tensors)]


@pytest.mark.parametrize("method", ["evolution", "enas", "darts2", "drawn", "setn"])
def test_cut_and_continued_equals_uninterrupted(method, tmp_path):
    whole = run(tmp_path / "whole", method)
    cuts = ({"cut_save": 1}, {"cut_epoch": 2}, {"cut_trial": 0})
    # What darts2 saves is as of drawn, whose answer takes no search.
    for cut in {"darts2": cuts[1:2], "drawn": cuts[:2], "setn": cuts[:1]}.get(method, cuts):
        with pytest.raises(Cut):
            run(tmp_path / "cut", method, **cut)
    again = run(tmp_path / "cut", method)
    assert again[:3] == whole[:3]
    for mine, theirs in zip(again[3], whole[3], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    values, trials, _, _ = whole
    assert len(values) == 3 and len(trials) == (1 if method in ("gdas", "darts2", "drawn") else 5)
    for name in {"reward", "choice_entropy", "gate_entropy"} & set(values[0]):
        assert all(0 <= epoch[name] <= 1 for epoch in values)
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").glob("*.index")] == ["epoch-3.index"]


def test_the_supernet_learns(tmp_path):
    """Two classes that a pixel tells apart: uniform paths all learn it."""
    images, labels = some(200, shape=(6, 6, 3))
    images[labels == 1, 2:4, 2:4] = 255
    images[labels == 0, 2:4, 2:4] = 0
    data = make(images, labels, valid_size=40)
    recipe = Recipe(epochs=12, batch_size=16, learning_rate=0.1)
    shared = ImageWeights(SPACE, SKELETON, data, recipe, seed=0, batch_statistics=True)
    with Store(tmp_path) as store:
        history = oneshot.train(shared, METHODS["evolution"](), store, tmp_path)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    score = oneshot.SharedWeightsScore(shared, SKELETON)
    assert score.all([(0, 0), (2, 1), (3, 2)])[0].min() > 0.9


def test_a_damaged_checkpoint_is_told(tmp_path):
    run(tmp_path, "evolution")
    (tmp_path / "checkpoints" / "epoch-3.index").unlink()
    with pytest.raises(ConfigError, match="epoch-3 is missing or damaged .* name a new run_dir"):
        run(tmp_path, "evolution")


def test_damaged_epochs_are_told(tmp_path):
    run(tmp_path, "evolution")
    (tmp_path / "epochs.json").write_text("[{")
    with pytest.raises(ConfigError, match="epochs.json is damaged .* name a new run_dir"):
        run(tmp_path, "evolution")


def test_a_loss_that_is_not_finite_is_told(tmp_path):
    shared = weights(RECIPE.replace(learning_rate=1e30))
    with Store(tmp_path) as store, pytest.raises(ConfigError, match="the loss is .* after epoch 1"):
        oneshot.train(shared, METHODS["evolution"](), store, tmp_path)


def test_paths_that_are_the_same_are_scored_once(shared, monkeypatch):
    score = oneshot.SharedWeightsScore(shared, SKELETON)
    archs = [(2, 1), (0, 0), (2, 1), (3, 2)]
    each = np.stack([shared.scores([arch], score.batches[None]) for arch in archs], 1)[..., 0]
    scored = []
    scores = shared.scores
    monkeypatch.setattr(
        shared, "scores", lambda some, batches: scored.extend(some) or scores(some, batches)
    )
    # A supernet may choose by more questions than there are decisions.
    monkeypatch.setattr(shared.supernet, "effective", lambda arch: tf.concat([arch, arch], -1))
    np.testing.assert_array_equal(score.all(archs), each)
    assert len(scored) == 3


def test_scores_of_more_images_than_there_are_are_refused(shared):
    with pytest.raises(ConfigError, match=r"valid_images must be in \[1, 5\].* got 6"):
        oneshot.SharedWeightsScore(shared, SKELETON, size=6)


# Methods


def test_gates_by_hand():
    """Softmax of log 1, log 2, log 5 is 1/8, 2/8, 5/8; a fourth choice is closed."""
    method = oneshot_gates.Gates(space=SPACE, seed=0)
    logits = tf.constant(np.log([[1.0, 1, 1, 1], [1.0, 2, 5, 99]]), tf.float32)
    gates = method.gates(logits, tf.constant(1.0), tf.constant([0, 0]))
    np.testing.assert_allclose(gates, [[0.25] * 4, [0.125, 0.25, 0.625, 0]], rtol=1e-5)
    method.weights.assign(logits)
    assert method.deriver().ask(1)[0].arch == (0, 2)
    p = np.array([1, 2, 5]) / 8
    expected = (1 + -(p * np.log(p)).sum() / np.log(3)) / 2
    assert method.entropy() == pytest.approx(expected, rel=1e-5)


def test_gumbel_gates_are_one_hot_draws_with_the_soft_gradient():
    method = oneshot_gates.Gates(space=SPACE, seed=0, kind="gumbel")
    logits = tf.constant(np.log([[1.0, 1, 1, 1], [1.0, 2, 5, 99]]), tf.float32)
    seeds = tf.stack([tf.zeros([2000], tf.int32), tf.range(2000)], 1)

    @tf.function(autograph=False)
    def draw_all():
        one = lambda seed: method.gates(logits, tf.constant(1.0), seed)  # noqa: E731
        return tf.map_fn(one, seeds, fn_output_signature=tf.float32)

    draws = draw_all().numpy()
    assert set(np.unique(draws)) == {0.0, 1.0} and (draws.sum(-1) == 1).all()
    p = np.array([1, 2, 5, 0]) / 8
    deviation = np.sqrt(p * (1 - p) / 2000)
    assert (abs(draws[:, 1].mean(0) - p) <= 5 * deviation).all()  # fails once in 10^6
    with tf.GradientTape() as tape:
        tape.watch(logits)
        gate = method.gates(logits, tf.constant(1.0), tf.constant([0, 0]))[1, 0]
    assert np.any(tape.gradient(gate, logits)[1, :3] != 0)


def test_of_drawn_gates_only_the_drawn_branches_run(shared):
    """Logits and gradients are those of the path; averages of other branches stand still."""
    images, arch = tf.constant(DATA.train_images[:4], tf.float32), (3, 1)
    gates = tf.stack([tf.one_hot(k, 4) for k in arch])
    net = shared.supernet
    before = {v.path: v.numpy() for v in net.variables}
    drawn = net(images, DrawnGates(gates), training=True)
    averages = {v.path: v.numpy() for v in net.variables if "moving" in v.path}
    moved = {path for path, value in averages.items() if (value != before[path]).any()}
    own = {w.path for layer in net.layers(arch).values() for w in layer.weights}
    assert moved == own & set(averages) and moved < set(averages)
    path = net(images, tf.constant(arch), training=True)
    np.testing.assert_allclose(drawn, path, rtol=1e-5, atol=1e-6)
    used = [bool(a) for a in net.active(DrawnGates(gates))]
    assert used == [bool(a) for a in net.active(tf.constant(arch))] and not all(used)


def test_the_gradients_of_drawn_gates_by_hand():
    """Output 2, 3 of branch 1, with gradients 10, 100: 320 for it, and 110 for the others."""
    gates, y = tf.constant([0.0, 1.0, 0.0]), tf.constant([2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch([gates, y])
        loss = tf.reduce_sum(weigh(gates, tf.constant(1), y) * [10.0, 100.0])
    of_gates, of_y = tape.gradient(loss, [gates, y])
    assert of_gates.numpy().tolist() == [110, 320, 110] and of_y.numpy().tolist() == [10, 100]


def test_drawn_branches_are_refused_where_all_run(shared):
    method = oneshot_gates.Gates(space=SPACE, seed=0, kind="drawn")
    with pytest.raises(ConfigError, match="must be gumbel where a text is learnt, got drawn"):
        method.start(object())


def test_the_likeliest_by_hand():
    rows = [np.log([0.7, 0.3]), np.log([0.6, 0.1, 0.3])]
    assert likeliest(rows, 4) == [(0, 0), (0, 2), (1, 0), (1, 2)]  # .42 .21 .18 .09
    assert likeliest(rows, 99)[-1] == (1, 1)


def test_each_trial_may_have_a_batch_of_its_own(shared):
    """Two batches of two in each pass over five images; a batch is at most all of them."""
    score = oneshot.SharedWeightsScore(shared, SKELETON, size=2, own=3)
    first, second = (score._batches(trial)[0].tolist() for trial in range(2))
    assert len({*first, *second}) == 4
    assert score._batches(0)[0].tolist() == first  # a continued run scores it alike
    assert sorted(oneshot.SharedWeightsScore(shared, SKELETON, size=9, own=3)._batches(0)[0]) == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip


def test_what_a_step_has_not_used_moves_on_if_the_recipe_says_so(shared, monkeypatch):
    recipe = RECIPE.replace(weight_decay=0.5, move_unused=True)
    monkeypatch.setattr(shared, "recipe", recipe)
    monkeypatch.setattr(shared.optimizer, "recipe", recipe)
    before = {v.path: v.numpy() for v in shared.supernet.variables}
    row, arch = tf.range(4), tf.constant((1, 0))  # no convolution
    rate, number = tf.constant(0.1), tf.constant(0)
    tf.function(lambda: shared.step(row, arch, rate, number), autograph=False)()
    unused = [v for v in shared.supernet.variables if v.path.endswith("layer0_conv__0_2/kernel")]
    # The first step of Nesterov momentum 0.9: 1.9 times rate x decay.
    (kernel,) = unused
    np.testing.assert_allclose(kernel, before[kernel.path] * (1 - 1.9 * 0.1 * 0.5), rtol=1e-5)


def test_temperatures_fall_linearly(shared):
    method = oneshot_gates.Gates(space=SPACE, seed=0, kind="gumbel")
    method.shared = shared  # of three epochs
    assert [method.temperature(i) for i in range(3)] == pytest.approx([10, 5.05, 0.1])


def test_gates_move_towards_what_helps_and_closed_ones_stay():
    shared = fresh()
    method = oneshot_gates.Gates(space=SPACE, seed=3, adam=ADAM)
    before = method.weights.numpy()
    method.start(shared)
    method.epoch(0, *one_epoch())
    moved = method.weights.numpy() != before
    assert moved[0].all() and moved[1].tolist() == [True, True, True, False]


def test_shares_of_idle_choices_by_hand():
    archs = [(0, 0), (1, 0), (2, 1), (3, 2)]
    by_name = shares(SPACE, archs)
    assert by_name["none_share"] == 1 / 4  # of the first decision alone, the second has no none
    assert by_name["skip_share"] == 3 / 8
    p = np.array([2, 1, 1]) / 4
    assert by_name["choice_entropy"] == pytest.approx((1 - (p * np.log(p)).sum() / np.log(3)) / 2)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"path": "best"}, "method.path must be uniform or controller, got best"),
        ({"controller_steps": -1}, "method.controller_steps must be at least 0, got -1"),
        ({"samples_per_step": 0}, "method.samples_per_step must be at least 1, got 0"),
        ({"reward_batch_size": 0}, "method.reward_batch_size must be at least 1, got 0"),
        ({"statistics_batches": -1}, "method.statistics_batches must be at least 0, got -1"),
    ],
)
def test_wrong_settings_of_paths(settings, said):
    with pytest.raises(ConfigError, match=said):
        oneshot_paths.Paths(space=SPACE, controller=None, reward=accuracy, seed=0, **settings)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"kind": "hard"}, "method.kind must be one of softmax, gumbel, drawn, template, got hard"),
        ({"order": 3}, "method.order must be 1 or 2, got 3"),
        ({"order": 2, "weights_first": True}, "method.weights_first must be false"),
        (
            {"derivation": {"architectures": 0, "batch_size": None}},
            "method.derivation.architectures must be at least 1, got 0",
        ),
        ({"order": 2, "kind": "gumbel"}, "method.order must be 1 with method.kind=gumbel, got 2"),
        ({"temperature": {"first": 0, "last": 0.1}}, "method.temperature.first must be above 0"),
        ({"temperature": {"first": 10, "last": -1}}, "method.temperature.last must be .*, got -1"),
        (
            {"adam": ADAM | {"weight_decay": -1}},
            "method.adam.weight_decay must not be negative, got -1",
        ),
    ],
)
def test_wrong_settings_of_gates(settings, said):
    with pytest.raises(ConfigError, match=said):
        oneshot_gates.Gates(space=SPACE, seed=0, **settings)


def test_a_controller_that_waits_is_refused():
    with pytest.raises(
        ConfigError, match="must propose 3 architectures at a time.* got 1 of Listed"
    ):
        ask(Listed([(0, 0)]), 3)


def test_the_best_of_the_derivation_is_the_answer(tmp_path):
    _, trials, _, _ = run(tmp_path, "evolution")
    with Store(tmp_path, read_only=True) as store:
        top = best(store.trials())
    assert top.reward == max(reward for _, _, reward in trials)
    assert {"valid_accuracy", "valid_loss", "parameters", "flops"} <= set(top.metrics)
