"""Large-scale evolution: starts with linear models, selects by pairs, inherits weights."""

import functools

from nas.benchmarks.images import digits
from nas.controllers.tournament import Tournament
from nas.core.skeleton import ImageSkeleton
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.inherit import InheritFromParent
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.training.recipe import Recipe

SPACE = MorphismSpace(
    slots=4, kernels=(1, 3), filters=(0, 8), strides=(1, 2), pool_after=(), head="flatten",
    learning_rates=(0.1, 0.05), filled=0.0, 
    growth=GrowthSettings(identity_share=0.1),
)  # fmt: skip


def test_it_grows_from_the_linear_model_and_inherits(tmp_path):
    controller = Tournament(SPACE, seed=1, population_size=3, reset_share=0.1)
    evaluate = InheritFromParent(
        space=SPACE,
        dataset=functools.partial(digits.load, train_size=256),
        skeleton=ImageSkeleton,
        recipe=Recipe(epochs=1, schedule="constant", nesterov=False),
        seed=0,
        run_dir=tmp_path,
    )
    with Store(tmp_path) as store:
        trials = search(
            controller,
            evaluate,
            lambda metrics: metrics["valid_accuracy"],
            store,
            SerialExecutor(),
            max_trials=9,
        )
    assert all(trial.status == "ok" for trial in trials)
    assert all(not any(trial.arch) for trial in trials[:3])  # linear, the first learning rate
    assert len(controller.population) == 3
    heirs = [trial for trial in trials[3:] if trial.proposal.parent is not None]
    assert heirs
    for trial in heirs:
        assert trial.metrics["parent"] == trial.proposal.parent
        assert trial.metrics["inherited"] > 0
    assert any(trial.metrics["parameters"] != trials[0].metrics["parameters"] for trial in heirs)
