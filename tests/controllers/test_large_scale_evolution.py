"""Large-scale evolution: starts with linear models, selects by pairs, inherits weights by shape."""

import functools

import pytest

from nas.benchmarks.images import digits
from nas.controllers.tournament import Tournament
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.inherit import InheritFromParent
from nas.morphism.settings import MorphismSettings
from nas.search_spaces.papers.growing.large_scale_evolution import LargeScaleEvolution
from nas.training.recipe import Recipe
from tests.search_spaces.test_large_scale_evolution import encoded

SPACE = LargeScaleEvolution(slots=4, filled=0.0)


def evaluator(tmp_path):
    return InheritFromParent(
        space=SPACE,
        dataset=functools.partial(digits.load, train_size=64),
        skeleton=ImageSkeleton,
        recipe=Recipe(epochs=1, schedule="constant", nesterov=False),
        seed=0,
        run_dir=tmp_path,
        morphism=MorphismSettings(method="same_shape"),
    )


def test_it_grows_from_the_linear_model_and_inherits(tmp_path):
    controller = Tournament(SPACE, seed=1, population_size=3)
    with Store(tmp_path) as store:
        trials = search(
            controller,
            evaluator(tmp_path),
            lambda metrics: metrics["valid_accuracy"],
            store,
            SerialExecutor(),
            max_trials=9,
        )
    assert all(trial.status == "ok" for trial in trials)
    assert all(trial.arch == SPACE.start() for trial in trials[:3])
    assert len(controller.population) == 3
    heirs = [trial for trial in trials[3:] if trial.proposal.parent is not None]
    assert heirs
    for trial in heirs:
        assert trial.metrics["parent"] == trial.proposal.parent
        assert trial.metrics["inherited"] > 0
    assert any(trial.arch != SPACE.start() for trial in heirs)


def test_weights_of_the_same_shape_are_inherited_and_no_others(tmp_path):
    evaluate = evaluator(tmp_path)
    first = {"factor": 4.0, "vertex": "bn_relu"}
    parent = encoded(SPACE, first, {})
    evaluate(0, Proposal(parent))
    convolution, norm, second, logits = 9 * 4, 2 * 4, 9 * 4 * 4, 4 * 10 + 10
    children = [
        (parent, 1.0, True),  # identity
        # Of a filter that changed its size all else stays (5 x 3 x 4 weights are new).
        (encoded(SPACE, first | {"height": 5}, {}), (norm + second + logits) / 262, False),
        # Other channels: whatever has them changes; the bias of the logits has not.
        (encoded(SPACE, first | {"factor": 2.0}, {}), 10 / (9 * 2 + 4 + 9 * 4 + 30), False),
        # An inserted convolution leaves the shapes behind it as they were.
        (encoded(SPACE, first, {}, {}), (convolution + norm + second + logits) / 382, False),
    ]
    for trial, (child, share, preserved) in enumerate(children, 1):
        metrics = evaluate(trial, Proposal(child, parent=0))
        assert metrics["inherited"] == pytest.approx(share) and metrics["preserved"] == preserved


def test_a_reset_has_no_parent_and_its_share_is_that_of_the_kinds_that_apply():
    """Five kinds apply to the first individual: 500 children, four deviations of 0.018."""
    controller = Tournament(SPACE, seed=0, population_size=2)
    resets = 0
    for _ in range(500):
        controller.population, controller.ids = [(SPACE.start(), 0.1), (SPACE.start(), 0.2)], [0, 1]
        controller.missing = 0
        (proposal,) = controller.ask(1)
        resets += proposal.parent is None
        assert proposal.arch == SPACE.start() or proposal.parent == 1
    assert abs(resets / 500 - 1 / 5) < 4 * 0.018
    with pytest.raises(ConfigError, match="controller.reset_share must be 0 for LargeScaleEvol"):
        Tournament(SPACE, seed=0, population_size=2, reset_share=0.1)


def test_a_child_that_fails_neither_ages_nor_kills_anyone():
    controller = Tournament(SPACE, seed=0, population_size=2)
    controller.tell([Trial(i, p, 0.1 * i) for i, p in enumerate(controller.ask(2))])
    before = sorted(controller.population)
    controller.tell([Trial(2, controller.ask(1)[0], None)])
    assert sorted(controller.population) == before
