"""Channels and branches that inheritance copies differ after one training step.

For every experiment with evaluator=inherit whose transforms copy: with its own transforms, noise
and recipe, in a small network of its own kind of space. Without noise, equal copies get equal
gradients for ever.
"""

import functools
from importlib import resources
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra import compose, initialize_config_module

from nas.benchmarks.images import digits
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Proposal
from nas.evaluators.common import build_for_search
from nas.evaluators.inherit import InheritFromParent
from nas.search_spaces.papers.growing.auto_keras import AutoKerasSpace
from nas.search_spaces.papers.growing.densenet import DenseNet
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.search_spaces.papers.path_level.space import PathLevelSpace
from nas.training.weights import take

FILES = sorted(Path(str(resources.files("nas.conf"))).glob("experiment/*.yaml"))
INHERITING = [
    f.stem
    for f in FILES
    if "override /evaluator: inherit" in f.read_text() and "method: same_shape" not in f.read_text()
]
START = GrowthSettings(start_filters=((4,),))
HIDDEN = GrowthSettings(start_filters=((4,),), start_units=(5,))
SLOTS = {"slots": 1, "kernels": (3,), "filters": (4, 8), "pool_after": (), "growth": START}
# A small space of each kind, and the decisions that make a child wider or branched.
SMALL = {
    MorphismSpace: (MorphismSpace(**SLOTS, skips=False), {"slot0/filters": 8}),
    Plain: (Plain(**(SLOTS | {"growth": HIDDEN}), hidden=1, units=(5,)), {"slot0/filters": 8}),
    AutoKerasSpace: (
        AutoKerasSpace(**(SLOTS | {"growth": HIDDEN}), hidden=1, units=(5,), residual_blocks=0),
        {"slot0/filters": 8},
    ),
    DenseNet: (DenseNet(blocks=1, slots=1, growth_rates=(4, 8)), {"slot0/growth": 8}),
    PathLevelSpace: (PathLevelSpace(bottleneck=1), {"root/merge": ("add", 2)}),
}


def equal_columns(weights) -> int:
    """How many output channels of kernels are equal to another of the same shape."""
    columns: dict[tuple, list] = {}
    for name, value in weights.items():
        if name.endswith("/kernel"):
            columns.setdefault(value.shape[:-1], []).extend(np.moveaxis(value, -1, 0))
    return sum(len(c) - len(np.unique(np.array(c), axis=0)) for c in columns.values())


def after_a_step(name, folder, **changes):
    """The weights of a wider or branched child after one training step; its parent's are random."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose("search", overrides=[f"experiment={name}", "dataset=digits"])
    morphism = hydra.utils.instantiate(config.evaluator.morphism, **changes)
    recipe = hydra.utils.instantiate(config.recipe)
    space, changed = SMALL[hydra.utils.get_class(config.space._target_)]
    evaluate = InheritFromParent(
        space=space,
        dataset=functools.partial(digits.load, train_size=32),
        skeleton=functools.partial(ImageSkeleton, cells=1, channels=8),
        recipe=recipe.replace(epochs=1, batch_size=32, pad_crop=0, cutout=0),
        seed=0,
        run_dir=folder,
        morphism=morphism,
    )
    start = space.start()
    skeleton, _ = evaluate.skeleton_and_cost(start, evaluate.recipe)
    evaluate.kept.save(0, start, take(build_for_search(space, start, skeleton, recipe, 0)))
    child = space.encode(space.decode(start) | changed)
    assert evaluate(1, Proposal(child, parent=0))["parent"] == 0
    return evaluate.kept.load(1, 2)[1]


@pytest.mark.parametrize("name", INHERITING)
def test_copies_differ_after_one_step_of_the_experiments_own_settings(name, tmp_path):
    assert not equal_columns(after_a_step(name, tmp_path))


def test_without_noise_copies_stay_equal(tmp_path):
    weights = after_a_step("eas_cifar10", tmp_path, wider_noise=0.0, deeper_noise=0.0)
    assert equal_columns(weights) == 4  # each of the four copies is equal to its original
