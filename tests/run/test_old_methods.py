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
