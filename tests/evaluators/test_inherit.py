"""Children start from their parents' weights, in any process and after any interruption."""

import functools

import numpy as np
import pytest

from nas.benchmarks.images import digits
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, EvaluationError, Proposal, trial_seed
from nas.engine.executors import ProcessExecutor, SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.common import Limits
from nas.evaluators.inherit import InheritFromParent
from nas.evaluators.kept_weights import IN_FLIGHT, KeptWeights
from nas.evaluators.scratch import TrainFromScratch
from nas.morphism.settings import EXACT, MorphismSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.training.recipe import Recipe
from nas.training.weights import give, take

SPACE = MorphismSpace(slots=4, kernels=(1, 3), filters=(0, 16, 32), pool_after=(2,))
SKELETON = functools.partial(ImageSkeleton, width=0.25)
RECIPE = Recipe(epochs=1, batch_size=64, learning_rate=0.05)
# Slots 0 and 2 hold 3x3 convolutions of 4 filters; the child has another in slot 1.
PARENT = SPACE.encode(
    {d.name: d.choices[0] for d in SPACE.decisions}
    | {"slot0/kernel": 3, "slot0/filters": 16, "slot2/kernel": 3, "slot2/filters": 16}
)
CHILD = SPACE.encode(SPACE.decode(PARENT) | {"slot1/kernel": 3})
WIDER = SPACE.encode(SPACE.decode(CHILD) | {"slot0/filters": 32})


def evaluator(run_dir, **settings):
    settings = {
        "space": SPACE,
        "dataset": functools.partial(digits.load, train_size=256),
        "skeleton": SKELETON,
        "recipe": RECIPE,
        "seed": 0,
        "run_dir": run_dir,
    } | settings
    return InheritFromParent(**settings)


class Family:
    """Trial 0 has no parent; the parent of every other trial is the one before."""

    def __init__(self):
        self.seen = 0

    def ask(self, n):
        arch = (PARENT, CHILD, WIDER)[min(self.seen, 2)]
        return [Proposal(arch, parent=self.seen - 1 if self.seen else None)]

    def tell(self, trials):
        self.seen += len(trials)

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen = state["seen"]


def run(folder, evaluate, *, executor=None, trials=3):
    with Store(folder) as store, executor or SerialExecutor() as running:
        return search(
            Family(),
            evaluate,
            lambda metrics: metrics["valid_accuracy"],
            store,
            running,
            max_trials=trials,
        )


def plain(trials):
    return [(trial.id, trial.proposal, trial.metrics) for trial in trials]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    return folder, run(folder, evaluator(folder))


def test_metrics_say_what_was_inherited(family):
    first, second, third = (trial.metrics for trial in family[1])
    assert (first["parent"], first["inherited"], first["preserved"]) == (None, 0.0, False)
    for metrics, parent in ((second, 0), (third, 1)):
        assert (metrics["parent"], metrics["inherited"], metrics["preserved"]) == (parent, 1, True)
        assert "parent_gone" not in metrics
    assert third["parameters"] > second["parameters"] > first["parameters"]


def test_weights_are_files_of_numbers_alone(family):
    folder = family[0] / "weights"
    assert sorted(path.name for path in folder.iterdir()) == ["0.npz", "1.npz", "2.npz"]
    with np.load(folder / "0.npz", allow_pickle=False) as file:
        assert tuple(file["arch"].tolist()) == PARENT
        assert file["slot0_conv/kernel"].shape == (3, 3, 1, 4)
        assert file["slot0_bn/moving_mean"].shape == (4,)


def test_an_untrained_child_is_as_good_as_its_trained_parent(family):
    from nas.training import loop as image

    folder, trials = family
    evaluate = evaluator(folder)
    data = evaluate.dataset()
    skeleton = SKELETON(image_shape=data.image_shape, classes=data.classes)
    for trial in trials[1:]:
        weights, origin = evaluate.inherited(trial.id, trial.proposal, skeleton, 0)
        assert origin == {"parent": trial.id - 1, "preserved": True}
        model = image.build(SPACE, trial.arch, skeleton, RECIPE, seed=5)
        give(model, weights)
        _, accuracy = image.make_evaluate(model, data, RECIPE, "valid")()
        # One image of 287 may lie on the border between two classes.
        parent = trials[trial.id - 1].metrics["valid_accuracy"]
        assert accuracy == pytest.approx(parent, abs=1.5 / 287)


class Killed(BaseException):
    pass


def test_a_stopped_run_ends_as_one_that_was_not(family, tmp_path):
    evaluate = evaluator(tmp_path)

    def dies(trial_id, proposal):
        if trial_id == 2:
            raise Killed
        return evaluate(trial_id, proposal)

    with pytest.raises(Killed):
        run(tmp_path, dies)
    assert plain(run(tmp_path, evaluator(tmp_path))) == plain(family[1])


def test_workers_find_what_other_processes_have_kept(family, tmp_path):
    run(tmp_path, evaluator(tmp_path), trials=1)
    executor = ProcessExecutor(workers=1)
    trials = run(tmp_path, evaluator(tmp_path), executor=executor, trials=2)
    assert plain(trials) == plain(family[1])[:2]


def test_a_parent_whose_weights_are_gone_is_said_to_be(family, tmp_path):
    evaluate = evaluator(tmp_path, keep=3)
    scratch = evaluate(0, Proposal(PARENT))
    for child, parent, message in (
        (7, 2, "older than evaluator.keep=3 trials"),
        (2, 1, "not there"),
    ):
        metrics = evaluate(child, Proposal(PARENT, parent=parent))
        assert (metrics["parent"], metrics["inherited"]) == (None, 0.0)
        assert metrics["parent_gone"] == message
    (tmp_path / "weights" / "3.npz").write_bytes(b"PK\x03\x04 no")
    assert evaluate(4, Proposal(PARENT, parent=3))["parent_gone"].startswith("damaged: ")
    assert "parent_gone" not in scratch


def test_a_failed_child_keeps_no_weights(tmp_path):
    evaluate = evaluator(tmp_path, recipe=RECIPE.replace(learning_rate=1e30))
    with pytest.raises(EvaluationError):
        evaluate(0, Proposal(PARENT))
    assert not (tmp_path / "weights").exists()
    with pytest.raises(EvaluationError, match="max_parameters=10"):
        evaluator(tmp_path, limits=Limits(max_parameters=10))(0, Proposal(PARENT))


def test_the_space_may_say_the_learning_rate_and_the_proposal_the_epochs(tmp_path):
    space = MorphismSpace(slots=1, pool_after=(), learning_rates=(0.5, 0.25))
    evaluate = evaluator(tmp_path, space=space)
    arch = space.encode({d.name: d.choices[0] for d in space.decisions} | {"learning_rate": 0.25})
    recipe = evaluate.recipe_for(Proposal(arch, epochs=7))
    assert (recipe.learning_rate, recipe.epochs) == (0.25, 7)
    assert evaluator(tmp_path).recipe_for(Proposal(PARENT)) == RECIPE


def test_a_training_may_end_before_its_epochs_do(tmp_path, monkeypatch):
    """If the validation loss does not fall: `patience` epochs after the first."""
    monkeypatch.setattr("nas.training.loop.make_evaluate", lambda *network: lambda: (1.0, 0.5))
    settings = {
        "recipe": RECIPE.replace(epochs=6),
        "dataset": functools.partial(digits.load, train_size=64),
        "patience": 2,
    }
    from_scratch = TrainFromScratch(space=SPACE, skeleton=SKELETON, seed=0, **settings)
    for evaluate in (from_scratch, evaluator(tmp_path, **settings)):
        metrics = evaluate(0, Proposal(PARENT))
        assert metrics["epochs"] == len(metrics["valid_accuracies"]) == 3


@pytest.mark.parametrize("best_epoch", [True, False])
def test_the_best_epochs_weights_are_handed_on_if_patience_ends_a_training(
    best_epoch, tmp_path, monkeypatch
):
    """Losses 3, 1, 2, 2: with a patience of 2 the second epoch is the best of four."""
    kept = []

    def make_evaluate(network, *rest):
        losses = iter([3.0, 1.0, 2.0, 2.0])

        def run():
            kept.append(take(network)["logits/bias"])
            return next(losses), 0.5

        return run

    monkeypatch.setattr("nas.training.loop.make_evaluate", make_evaluate)
    evaluate = evaluator(
        tmp_path,
        recipe=RECIPE.replace(epochs=9),
        dataset=functools.partial(digits.load, train_size=64),
        patience=2,
        morphism=MorphismSettings(best_epoch=best_epoch),
    )
    assert evaluate(0, Proposal(PARENT))["epochs"] == 4
    _, weights = evaluate.kept.load(0, 1)
    np.testing.assert_array_equal(weights["logits/bias"], kept[1 if best_epoch else 3])
    assert not np.array_equal(kept[1], kept[3])


def test_old_weights_are_deleted_when_nobody_can_ask_for_them(tmp_path):
    kept = KeptWeights(tmp_path, keep=5)
    weights = {"a/kernel": np.ones(3, np.float32)}
    for trial_id in (0, 1, 2):
        kept.save(trial_id, (1, 2), weights)
    kept.save(2 + 5 + IN_FLIGHT, (1,), weights)
    assert sorted(int(path.stem) for path in kept.folder.iterdir()) == [2, 7 + IN_FLIGHT]
    arch, loaded = kept.load(2, 7)
    assert arch == (1, 2) and list(loaded) == ["a/kernel"]
    with pytest.raises(LookupError, match="older than evaluator.keep=5"):
        kept.load(2, 8)


def test_noise_breaks_the_symmetry_of_copies(family):
    folder, _ = family
    data = evaluator(folder).dataset()
    skeleton = SKELETON(image_shape=data.image_shape, classes=data.classes)
    proposal = Proposal(WIDER, parent=1)
    plain_start, _ = evaluator(folder, morphism=EXACT).inherited(
        2, proposal, skeleton, trial_seed(0, 2)
    )
    noisy, origin = evaluator(folder).inherited(2, proposal, skeleton, trial_seed(0, 2))
    assert origin["preserved"]
    change = noisy["slot0_conv/kernel"] - plain_start["slot0_conv/kernel"]
    assert not change[..., :4].any() and change[..., 4:].any()


def test_weights_of_a_model_can_be_taken_and_given():
    from nas.training import loop as image

    skeleton = SKELETON(image_shape=(8, 8, 1), classes=10, dropout=0.5)
    one, two = (image.build(SPACE, CHILD, skeleton, RECIPE, seed=s) for s in (0, 1))
    count = give(two, take(one))
    assert count == sum(int(np.prod(v.shape)) for v in one.trainable_variables)
    assert all(np.array_equal(value, take(two)[name]) for name, value in take(one).items())
    assert give(two, {"slot0_conv/kernel": np.zeros((1, 1, 1, 4))}) == 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"keep": 0}, "evaluator.keep must be a whole number of at least 1, got 0"),
        ({"patience": 0}, "evaluator.patience must be at least 1 or null, got 0"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        evaluator(tmp_path, **wrong)
