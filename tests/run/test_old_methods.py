"""Settings of one-shot methods, as older versions wrote them into run folders."""

from nas.run.old_configs import modernised


def test_the_settings_of_gates_of_older_runs():
    old = {
        "_target_": "nas.oneshot_gates.Gates",
        "kind": "gumbel",
        "first_temperature": 5.0,
        "last_temperature": 0.5,
        "learning_rate": 0.003,
        "beta_1": 0.9,
        "beta_2": 0.99,
        "weight_decay": 0.01,
    }
    assert modernised(old) == {
        "_target_": "nas.oneshot.gates.Gates",
        "kind": "gumbel",
        "weights_first": False,
        "temperature": {"first": 5.0, "last": 0.5},
        "adam": {"learning_rate": 0.003, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.01},
    }


def test_settings_that_older_runs_did_not_have_are_as_they_trained():
    old = {
        "method": {"_target_": "nas.oneshot_paths.Paths", "path": "uniform"},
        "recipe": {"_target_": "nas.recipe.Recipe", "clip_norm": 5.0},
        "text": {"_target_": "nas.language_recipe.LanguageRecipe", "weight_decay": 8e-7},
        "space": {"_target_": "search_spaces.enas_macro.ENASMacro", "layers": 12},
    }
    now = modernised(old)
    assert now["method"]["statistics_batches"] == 0
    assert now["recipe"]["clip_decay"] is True
    assert now["text"] == {
        "_target_": "nas.language.recipe.LanguageRecipe",
        "weight_decay": 8e-7,
        "decay_rule": "l2",
        "clip_decay": False,
        "dropped_activations": True,
        "bptt_deviation": 5.0,
    }
    assert now["space"]["late_binding"] is False
