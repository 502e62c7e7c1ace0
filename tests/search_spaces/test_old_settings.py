"""Spaces that older versions configured are read with today's names."""

import hydra
import pytest

from nas.run.old_configs import modernised


@pytest.mark.parametrize(
    "target", ["morphism_space.MorphismSpace", "plain.Plain", "densenet.DenseNet"]
)
def test_a_space_that_only_grew_still_does(target):
    config = modernised({"_target_": f"search_spaces.{target}", "growing": True})
    assert hydra.utils.instantiate(config).only_grow is True


def test_trees_that_only_grew_still_do():
    config = modernised({"_target_": "search_spaces.path_level.PathLevel", "growing": True})
    assert type(hydra.utils.instantiate(config)).__name__ == "PathLevelSpace"
    assert "growing" not in config and config["only_grow"] is True


def test_the_reference_of_shared_weights_is_found():
    config = modernised({"_target_": "benchmarks.nasbench201_truth.truth"})
    assert callable(hydra.utils.get_method(config["_target_"]))
