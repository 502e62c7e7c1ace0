"""A controller of several tasks: turns, normalised rewards, and starting from another run."""

import numpy as np
import pytest

from nas.benchmarks.tables.nasbench201_tasks import NASBench201Tasks
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.controllers.transfer import Transfer
from nas.core.trial import ConfigError, Proposal, Trial
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.benchmarks.test_nasbench201_table import small  # noqa: F401  a fixture

SPACE = NASBench201()
TINY = {
    "lstm": LSTMSettings(layers=1, units=6, init_scale=0.1),
    "task_size": 2,
    "batch_size": 4,
}


def taught(tasks=2, trials=4, seed=0):
    controller = Transfer(SPACE, seed=seed, tasks=tasks, **TINY)
    for i, proposal in enumerate(controller.ask(trials)):
        controller.tell([Trial(i, proposal, float(i))])
    return controller


def test_tasks_take_turns_and_their_policies_differ():
    controller = Transfer(SPACE, seed=0, tasks=3, **TINY)
    tasks = [p.notes["task"] for p in controller.ask(4) + controller.ask(3)]
    assert tasks == [0, 1, 2, 0, 1, 2, 0]
    odds = controller.policy.log_prob([(task, 1, 2, 3, 4, 0, 1) for task in range(3)]).numpy()
    assert len(set(odds.tolist())) == 3


def test_probabilities_of_a_task_sum_to_one():
    policy = taught().policy
    first = [(1, a, 0, 0, 0, 0, 0) for a in range(5)]
    p = [q.numpy() for _, q, _ in policy._answers(*policy._tensors(first))]
    assert len(p) == 6  # the policy does not decide the task
    np.testing.assert_allclose(np.exp(p[0][0, 0]).sum(), 1, atol=1e-6)


def test_rewards_are_normalised_by_their_own_task():
    controller = Transfer(SPACE, seed=0, tasks=2, decay=0.99, **TINY)
    rng = np.random.default_rng(0)
    for task, mean, deviation in ((0, 50.0, 10.0), (1, 0.3, 0.01)):
        rewards = rng.normal(mean, deviation, 1000)
        normalised = [controller.normalised(task, reward) for reward in rewards][200:]
        assert abs(np.mean(normalised)) < 0.1 and abs(np.std(normalised) - 1) < 0.1
    assert Transfer(SPACE, seed=0, **TINY).normalised(0, 5.0) == 0  # one reward has no deviation


def test_only_the_embeddings_of_tasks_are_new():
    learnt, heir = taught(), Transfer(SPACE, seed=1, **TINY)
    embedding = heir.policy.task_embedding.numpy()
    heir.take_over(learnt.state())
    for mine, theirs in zip(heir.policy.variables[:-1], learnt.policy.variables[:-1], strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    np.testing.assert_array_equal(heir.policy.task_embedding.numpy(), embedding)
    assert embedding.shape == (1, 2) and heir.policy.adam.updates.numpy() == 0


@pytest.mark.slow
def test_it_learns_what_each_task_pays_for():
    settings = TINY | {"batch_size": 10, "adam": AdamSettings(learning_rate=0.05)}
    controller = Transfer(SPACE, seed=0, tasks=2, **settings)
    for i in range(40):
        proposals = controller.ask(10)
        paid = [p.arch.count(4 * p.notes["task"]) / 6 for p in proposals]
        controller.tell([Trial(i, p, r) for p, r in zip(proposals, paid, strict=True)])
    assert np.mean(paid) > 0.6  # 0.2 without learning


def test_each_task_reads_its_own_table(small, monkeypatch):  # noqa: F811
    monkeypatch.setenv("NASBENCH201_NPZ", str(small))
    evaluate = NASBench201Tasks(SPACE, datasets=["cifar10", "cifar10"])
    assert evaluate(0, Proposal((0,) * 6, notes={"task": 1}))["task"] == 1
    with pytest.raises(ConfigError, match=r"as many tasks .* got task 2; set controller=transfer"):
        evaluate(0, Proposal((0,) * 6, notes={"task": 2}))
    with pytest.raises(ConfigError, match="got task None"):
        evaluate(0, Proposal((0,) * 6))
    with pytest.raises(ConfigError, match=r"evaluator.datasets must name"):
        NASBench201Tasks(SPACE, datasets=[])


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"tasks": 0}, "controller.tasks must be at least 1"),
        ({"task_size": 6}, r"controller.task_size must be in \[1, controller.lstm.units=6\)"),
        ({"decay": 1.0}, r"controller.decay must be in \(0, 1\)"),
        ({"batch_size": 0}, "controller.batch_size must be at least 1"),
    ],
)
def test_wrong_settings_are_told(settings, words):
    with pytest.raises(ConfigError, match=words):
        Transfer(SPACE, seed=0, **(TINY | settings))


def test_who_learnt_otherwise_cannot_be_taken_over():
    heir = Transfer(SPACE, seed=0, **TINY)
    with pytest.raises(ConfigError, match="must be a run of controller=transfer"):
        heir.take_over({"rng": 0})
    other = Transfer(
        SPACE, seed=0, **(TINY | {"lstm": LSTMSettings(layers=1, units=8, init_scale=0.1)})
    )
    with pytest.raises(ConfigError, match="other layers, units or sizes"):
        heir.take_over(other.state())
