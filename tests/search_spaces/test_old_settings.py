"""Spaces that older versions configured are read with today's names."""

import hydra

from nas.run.old_configs import modernised
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings


def test_a_densenet_that_only_grew_still_does():
    config = modernised({"_target_": "search_spaces.densenet.DenseNet", "growing": True})
    assert hydra.utils.instantiate(config).only_grow is True


def test_slots_keep_how_they_grew():
    old = {"growing": True, "doubling": True, "start_filters": [[16], [], []], "start_units": [64]}
    config = modernised({"_target_": "search_spaces.plain.Plain"} | old)
    space = hydra.utils.instantiate(config)
    assert space.growth.only_grow and space.growth.doubling
    growth = GrowthSettings(start_filters=[[16], [], []], start_units=(64,))
    assert space.start() == Plain(growth=growth).start()
    config = modernised(
        {"_target_": "search_spaces.morphism_space.MorphismSpace", "identity_share": 0.1}
    )
    assert hydra.utils.instantiate(config).growth == GrowthSettings(identity_share=0.1)


def test_trees_that_only_grew_still_do():
    config = modernised({"_target_": "search_spaces.path_level.PathLevel", "growing": True})
    assert type(hydra.utils.instantiate(config)).__name__ == "PathLevelSpace"
    assert "growing" not in config and config["only_grow"] is True


def test_the_reference_of_shared_weights_is_found():
    config = modernised({"_target_": "benchmarks.nasbench201_truth.truth"})
    assert callable(hydra.utils.get_method(config["_target_"]))


def test_networks_of_metaqnn_keep_the_poolings_that_they_had():
    config = modernised({"_target_": "search_spaces.metaqnn.MetaQNN", "layers": 4})
    assert hydra.utils.instantiate(config).pooling_rounds == "down"


def test_cells_of_nasbench201_keep_their_mutation():
    config = modernised({"_target_": "search_spaces.nasbench201.NASBench201"})
    assert hydra.utils.instantiate(config).mutation == "edge"


def test_a_local_search_keeps_its_single_start():
    config = modernised(
        {"_target_": "controllers.local_search.LocalSearch", "first_improvement": False}
    )
    assert config["num_init"] == 1


def test_a_training_that_learnt_nothing_is_not_given_up():
    config = modernised({"_target_": "nas.evaluators.TrainFromScratch", "restarts": 5})
    assert config["gives_up"] is False
