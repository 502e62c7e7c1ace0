"""Limits of candidates: what is refused, and settings of older run folders."""

import pytest
from omegaconf import OmegaConf

from nas.core.space import Cost
from nas.core.trial import INVALID, EvaluationError
from nas.evaluators.common import Limits, SizeLimits
from nas.run.config import make, refuse_foreign_targets
from nas.run.old_configs import modernised

COST = Cost(parameters=100, flops=2000, activations=2**20)


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"max_parameters": 99}, "parameters must be at most evaluator.limits.max_parameters=99"),
        ({"max_flops": 1999}, "flops must be at most evaluator.limits.max_flops=1999, got 2000"),
        ({"max_memory": 7.9}, "memory must be at most evaluator.limits.max_memory=7.9, got 8"),
    ],
)
def test_what_is_above_a_limit_is_refused_with_the_setting(limits, message):
    with pytest.raises(EvaluationError, match=message) as caught:
        SizeLimits(**limits).check(COST, batch_size=2)
    assert caught.value.status == INVALID


def test_what_is_at_a_limit_is_trained():
    Limits(max_parameters=100, max_flops=2000, max_memory=9.0).check(COST, batch_size=2)
    Limits().check(COST, batch_size=2)


@pytest.mark.parametrize(
    "target, settings, record",
    [
        ("nas.evaluators.TrainFromScratch", {"max_seconds": 5.0, "patience": None}, "Limits"),
        ("nas.inherit.InheritFromParent", {"max_memory": 7.0, "keep": 9}, "Limits"),
        ("nas.reused.TrainWithOneGraph", {"max_flops": None}, "SizeLimits"),
        ("nas.language_evaluator.TrainLanguageModel", {"max_parameters": 3}, "LanguageLimits"),
    ],
)
def test_limits_of_older_run_folders_are_read(target, settings, record):
    node = modernised({"_target_": target, **settings})
    refuse_foreign_targets(OmegaConf.create(node), "evaluator")
    limits = make(OmegaConf.create(node["limits"]), "evaluator.limits")
    assert type(limits).__name__ == record
    assert not set(node) & {name for name in settings if name.startswith("max_")}
    for name, value in settings.items():
        assert (getattr(limits, name) if name.startswith("max_") else node[name]) == value
    assert modernised(node) == node
    assert modernised({"choices": {"evaluator": "reused"}}) == {
        "choices": {"evaluator": "one_graph"}
    }
