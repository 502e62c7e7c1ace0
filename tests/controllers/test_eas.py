"""EAS: wider and deeper actions preserve the function; known answers; stopped runs continue."""

import functools
import json

import hydra
import numpy as np
import pytest
import tensorflow as tf
from hydra import compose, initialize_config_module

from nas.benchmarks.images import digits
from nas.controllers.eas import EAS
from nas.controllers.growing.controller import tan_reward
from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.settings import UpdateSettings
from nas.controllers.growing.slot_growth import SlotGrowth
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.inherit import InheritFromParent
from nas.morphism.inheritance import inherit_weights
from nas.ops.inference import outputs
from nas.ops.recorder import describe
from nas.run.config import make
from nas.run.old_configs import modernised
from nas.search_spaces.papers.growing.densenet import DenseNet
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training.recipe import Recipe
from tests.contracts.test_controllers import text
from tests.helpers.morphism_networks import random_weights

SPACE = MorphismSpace(
    slots=8, kernels=(1, 3), filters=(0, 4, 6, 8), skips=False, pool_after=(4,),
    growth=GrowthSettings(start_filters=[[4], [6]]),
)  # fmt: skip
PLAIN = Plain(
    slots=6, kernels=(1, 3), filters=(4, 6, 8), pool_after=(3,),
    growth=GrowthSettings(start_filters=[[4], [6]], start_units=(5,)),
    hidden=4, units=(5, 7, 9),
)  # fmt: skip
DENSE = DenseNet(
    blocks=2, slots=6, growth_rates=(2, 3, 5), bottleneck=2, start_layers=2, start_growth=2
)  # fmt: skip
TINY = {
    "updates": UpdateSettings(episode=2),
    "encoder": EncoderSettings(embedding=3, units=4),
    "wider_steps": 2,
    "deeper_steps": 2,
}


def started(space=SPACE, **settings):
    controller = EAS(space, seed=0, **(TINY | settings))
    (proposal,) = controller.ask(3)
    assert proposal.arch == space.start() and proposal.parent is None
    assert controller.ask(1) == []
    controller.tell([Trial(0, proposal, 0.5)])
    return controller


def test_the_tangent_pays():
    assert tan_reward(0.5) == pytest.approx(1.0)
    assert tan_reward(0.0) == 0 and np.isfinite(tan_reward(1.0))


@pytest.mark.parametrize("space", [SPACE, PLAIN, DENSE], ids=["slots", "plain", "dense"])
def test_all_networks_grow_from_the_start_and_compute_what_it_does(space):
    skeleton = ImageSkeleton(image_shape=(8, 8, 3), classes=4)
    parent = describe(space, space.start(), skeleton)
    weights = random_weights(parent, np.random.default_rng(2))
    images = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    expected = outputs(parent, weights, images)
    for proposal in started(space, wider_steps=3, deeper_steps=4).ask(2):
        assert proposal.parent == 0
        space.check(proposal.arch)
        child = describe(space, proposal.arch, skeleton)
        new, same = inherit_weights(parent, weights, child, np.random.default_rng(1))
        assert same and proposal.arch != space.start()
        np.testing.assert_allclose(outputs(child, new, images), expected, atol=1e-5)


def test_wider_takes_the_next_size_and_deeper_the_middle_of_what_is_empty():
    growth = SlotGrowth(SPACE)
    arch = growth.wider(growth.start, [1, 0])
    assert [SPACE.slot(arch, i).filters for i in (0, 4)] == [6, 6]
    assert growth.places(arch) == [[2], [6]]
    arch = growth.deeper(arch, 0, 0, 1)
    assert SPACE.slot(arch, 2).filters == 6 and SPACE.slot(arch, 2).kernel == 3
    assert growth.places(arch) == [[1, 3], [6]]
    assert growth.layers(growth.deeper(arch, 0, 0, 0)) == [[0, 1, 2], [4]]
    assert growth.places(growth.deeper(arch, 0, 0, 0))[0] == [None, None, 3]
    assert len(growth.tokens(arch)) == 4 and growth.tokens(arch).index(0) == 2


def test_hidden_dense_layers_are_the_last_block_and_have_no_kernel():
    growth = SlotGrowth(PLAIN)
    words = growth.tokens(growth.start)
    assert [word == 0 for word in words] == [False, True, False, True, False]
    assert growth.vocabulary == words[-1] + 3  # the last words are fc-5, fc-7 and fc-9
    assert growth.answers == (3, 4, 2) and [growth.questions(b) for b in range(3)] == [3, 3, 2]
    arch = growth.wider(growth.start, [0, 0, 1])
    assert PLAIN.hidden(arch) == {0: 7} and growth.places(arch)[2] == [8]
    assert PLAIN.hidden(growth.deeper(arch, 2, 0)) == {0: 7, 2: 7}
    arch = growth.wider(arch, [0, 0, 1])
    assert PLAIN.hidden(arch) == {0: 9} and growth.can_widen(arch) == [True, True, False]


def test_the_experiment_asks_what_the_authors_code_does():
    """The answers of a deeper step: blocks, layers, kernels; a start of 4 convolutions, 1 dense."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose("search", overrides=["experiment=eas_cifar10", "run_dir=none"])
    growth = SlotGrowth(make(config.space, "space"))
    assert growth.answers == (5, 10, 3)
    assert [word > 0 for word in growth.tokens(growth.start)] == [True, False] * 4 + [True]
    assert (len(growth.filters), len(growth.units)) == (13, 11)


def test_of_a_hidden_layer_a_deeper_step_is_two_answers():
    controller = EAS(PLAIN, seed=0, **(TINY | {"deeper_steps": 4}))
    for _ in range(4):
        _, actions = controller.policy.sample(controller.rng)
        steps, left = [], iter(actions[2:])
        for block in left:
            steps.append(block)
            assert len(next(left)) == 1
            if block != [2]:
                next(left)
        assert len(steps) == 4
        log_p, entropy = controller.policy.score(actions)
        assert float(log_p) < 0 < float(entropy)


def test_in_a_densenet_growth_rates_rise_and_layers_are_copied():
    growth = DenseGrowth(DENSE)
    assert growth.start == (1, 0, 0, 1, 0, 0) * 2
    assert growth.tokens(growth.start) == [0, 1, 1, 0, 1, 1, 0]
    arch = growth.wider(growth.start, [0, 1, 1, 0])
    assert arch == (1, 0, 0, 2, 0, 0, 2, 0, 0, 1, 0, 0)
    assert growth.places(arch) == [[1, 4], [7, 10]]
    arch = growth.deeper(arch, 0, 1)
    assert arch == (1, 0, 0, 2, 2, 0, 2, 0, 0, 1, 0, 0)
    assert growth.places(growth.deeper(arch, 0, 2)) == [[1, None, None, None], [7, 10]]
    assert growth.can_widen(growth.wider(arch, [1, 1, 0, 0, 0])) == [True, False, True, True, True]


def test_of_a_densenet_a_deeper_step_is_two_answers():
    controller = EAS(DENSE, seed=0, **TINY)
    _, actions = controller.policy.sample(controller.rng)
    assert [len(one) for one in actions] == [4, 4, 1, 1, 1, 1]
    log_p, entropy = controller.policy.score(actions)
    assert float(log_p) < 0 < float(entropy)


def test_a_layer_of_the_largest_size_adds_nothing_to_the_probability():
    largest = Plain(
        slots=2, kernels=(3,), filters=(4,), pool_after=(), units=(5,),
        growth=GrowthSettings(start_filters=[[4]], start_units=(5,)),
    )  # fmt: skip
    controller = EAS(largest, seed=0, **(TINY | {"deeper_steps": 0}))
    arch, actions = controller.policy.sample(controller.rng)
    assert arch == largest.start() and actions == [[0, 0]] * 2
    log_p, entropy = controller.policy.score(actions)
    assert float(log_p) == 0 and float(entropy) == 0


def test_an_episode_is_as_many_actions_as_steps():
    controller = EAS(SPACE, seed=0)
    actions = [controller.policy.sample(controller.rng)[1] for _ in range(2)]
    assert [len(each) for each in actions] == [4 + 3 * 5] * 2  # a deeper step is three answers


@pytest.mark.parametrize(
    "rule, first, used, kept",
    [
        ("code", "mean", [1.0, 1 + 0.95 * 2], 2.9),
        ("paper", "mean", [1.0, 1.0], 1.1),
        ("code", "zero", [0.95, 0.95 + 0.95 * 2.05], 2.8975),  # the code's: tests/references
        ("code", "start", [1.0, 2.9], 2.9),  # the start's accuracy is 0.5, whose tangent is 1
    ],
)
def test_baselines(rule, first, used, kept):
    updates = UpdateSettings(episode=2, baseline=rule, first_baseline=first)
    controller = started(updates=updates)
    assert [controller._baseline(mean) for mean in (1.0, 3.0)] == pytest.approx(used)
    assert controller.baseline == pytest.approx(kept)


@pytest.mark.parametrize("mean, expected", [(True, (1 + 2 / 3) / 2), (False, 2 + 2)])
def test_the_entropy_is_the_mean_over_steps_and_their_questions(mean, expected):
    """With weights of zero all answers are equally likely: of two, an entropy of log 2.

    Two layers may become wider. The deeper step asks for one of two blocks, one of one layer and
    one of two kernels.
    """
    updates = UpdateSettings(episode=2, mean_entropy=mean)
    controller = started(SPACE, updates=updates, wider_steps=1, deeper_steps=1)
    for variable in controller.policy.variables:
        variable.assign(tf.zeros_like(variable))
    _, actions = controller.policy.sample(np.random.default_rng(0))
    entropy = float(controller.policy.score(actions)[1])
    assert entropy == pytest.approx(expected * np.log(2))


def test_the_first_weights_are_those_of_the_code():
    """Embeddings of variance 1 within +-sqrt(3), Glorot kernels, forget biases of 1."""
    policy = EAS(PLAIN, seed=0).policy
    words = policy.words.numpy()
    assert np.abs(words).max() < 3**0.5 and words.var() == pytest.approx(1, rel=0.2)
    kernel, bias = (v.numpy() for v in policy.decoder)
    assert kernel.shape == (16 + 100, 400)  # as wide as both directions of the encoder
    assert 0.99 < np.abs(kernel).max() / (6 / (116 + 400)) ** 0.5 <= 1
    assert bias.tolist() == [0.0] * 100 + [1.0] * 100 + [0.0] * 200
    assert not policy.widen[1].numpy().any()
    older = EAS(PLAIN, seed=0, init_scale=0.1).policy
    assert all(0 < np.abs(v.numpy()).max() <= 0.1 for v in older.variables)


def test_a_network_that_is_drawn_again_is_not_trained_again():
    controller = started(updates=UpdateSettings(episode=4))
    a, b = (controller.policy.sample(controller.rng) for _ in range(2))
    assert SPACE.key(a[0]) != SPACE.key(b[0])
    drawn = iter([a, a, b, b, b])
    controller.policy.sample = lambda rng: next(drawn)
    learnt = []
    controller.policy.update = lambda episode, advantages: learnt.append((episode, advantages))
    first, second = controller.ask(2)  # the second a waits for the first
    assert (first.arch, second.arch) == (a[0], b[0])
    again = EAS(SPACE, seed=0, **(TINY | {"updates": UpdateSettings(episode=4)}))
    again.load_state(json.loads(json.dumps(controller.state(), default=np.ndarray.tolist)))
    assert (again.known, again.waiting) == (controller.known, controller.waiting)
    controller.tell([Trial(1, first, 0.5), Trial(2, second, 0.0)])
    assert not learnt and len(controller.batch) == 3
    with pytest.raises(StopIteration):  # b is known: the policy learns, and draws on
        controller.ask(1)
    ((episode, advantages),) = learnt
    assert episode == [a[1], a[1], b[1], b[1]]
    np.testing.assert_allclose(advantages, np.array([1, 1, 0, 0]) - 0.95 * 0.5)
    assert controller.batch == [(b[1], 0.0)]


def test_a_policy_that_draws_one_network_alone_comes_to_its_end():
    controller = started()
    only = controller.policy.sample(controller.rng)
    controller.policy.sample = lambda rng: only
    controller.policy.update = lambda episode, advantages: None
    (proposal,) = controller.ask(1)
    controller.tell([Trial(1, proposal, 0.5)])
    assert [p.arch for p in controller.ask(1)] == [only[0]]


def test_an_older_run_trains_again_and_begins_with_the_first_mean():
    old = {"_target_": "controllers.eas.EAS", "episode": 3, "baseline": "code", "init_scale": 0.1}
    old |= {"embedding": 3, "units": 4, "learning_rate": 0.1, "entropy_weight": 0.1}
    config = modernised(old)
    assert config["train_again"] and config["init_scale"] == 0.1
    updates = hydra.utils.instantiate(config["updates"])
    assert updates == UpdateSettings(3, "code", "mean", 0.1, False)
    controller = hydra.utils.instantiate(config, space=SPACE, seed=0)
    state = {k: v for k, v in controller.state().items() if k not in ("known", "waiting")}
    state |= {"begun": True, "start": 0}
    controller.load_state(state)
    assert controller.baseline is None and controller.ask(1)[0].parent == 0


def test_it_learns_to_widen():
    controller = started(
        updates=UpdateSettings(episode=5, first_baseline="mean"),
        wider_steps=1,
        deeper_steps=0,
        adam=AdamSettings(0.1),
        train_again=True,
    )
    for i in range(8):
        proposals = controller.ask(5)
        paid = [sum(map(sum, p.notes["actions"])) / 2 for p in proposals]
        told = zip(proposals, paid, strict=True)
        controller.tell([Trial(1 + i, p, 0.9 * r) for p, r in told])
    assert np.mean(paid) > 0.7  # 0.5 without learning


@pytest.mark.slow
@pytest.mark.parametrize("space", [SPACE, PLAIN], ids=["slots", "plain"])
def test_it_searches_with_inherited_weights_and_continues(space, tmp_path):
    def run(name, trials):
        controller = EAS(space, seed=0, **TINY)
        evaluate = InheritFromParent(
            space=space,
            dataset=functools.partial(digits.load, train_size=128),
            skeleton=ImageSkeleton,
            recipe=Recipe(epochs=1),
            seed=0,
            run_dir=tmp_path / name,
        )
        with Store(tmp_path / name) as store:
            paid = lambda metrics: metrics["valid_accuracy"]  # noqa: E731
            done = search(controller, evaluate, paid, store, SerialExecutor(), max_trials=trials)
        return done, controller

    trials, whole = run("whole", 4)
    assert [t.metrics["parent"] for t in trials] == [None, 0, 0, 0]
    assert all(t.metrics["preserved"] for t in trials[1:])
    run("parts", 2)
    again, parts = run("parts", 4)
    assert [t.arch for t in again] == [t.arch for t in trials]
    assert text(parts.state()) == text(whole.state())


@pytest.mark.parametrize(
    "space, settings, words",
    [
        (NASBench201(), {}, "a space with wider and deeper layers, got NASBench201"),
        (MorphismSpace(strides=(2,)), {}, "a stride of 1"),
        (MorphismSpace(kernels=(2,)), {}, "odd kernels and numbers of filters"),
        (SPACE, {"init_scale": 0}, "controller.init_scale must be positive or null, got 0"),
        (SPACE, {"wider_steps": -1}, "controller.wider_steps must be at least 0, got -1"),
    ],
)
def test_what_cannot_grow_is_refused(space, settings, words):
    with pytest.raises(ConfigError, match=words):
        EAS(space, seed=0, **settings)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"episode": 0}, "controller.updates.episode must be at least 1, got 0"),
        ({"baseline": "none"}, "controller.updates.baseline must be one of code, paper, got none"),
        ({"first_baseline": "x"}, "controller.updates.first_baseline must be one of zero, start"),
    ],
)
def test_wrong_updates_are_told(wrong, words):
    with pytest.raises(ConfigError, match=words):
        UpdateSettings(**wrong)
