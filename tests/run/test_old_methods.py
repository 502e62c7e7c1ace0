"""Settings of one-shot methods, as older versions wrote them into run folders."""

from nas.run.old_configs import modernised


def test_the_temperatures_of_older_runs():
    old = {
        "_target_": "nas.oneshot_gates.Gates",
        "kind": "gumbel",
        "first_temperature": 5.0,
        "last_temperature": 0.5,
    }
    assert modernised(old) == {
        "_target_": "nas.oneshot.gates.Gates",
        "kind": "gumbel",
        "temperature": {"first": 5.0, "last": 0.5},
    }
