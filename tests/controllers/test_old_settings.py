"""Configurations of controllers from before their settings were grouped are read as today's."""

import copy

import pytest

from nas.run.old_configs import ADDED_SETTINGS, MOVED_SETTINGS, modernised
from tests.helpers.hydra_configs import composed, names

MOVED = [n for n in names("controller") if composed("controller", n)["_target_"] in MOVED_SETTINGS]


def at(settings, path):
    for name in path.split("."):
        settings = settings[name]
    return settings


@pytest.mark.parametrize("name", MOVED)
def test_settings_that_were_in_one_row_are_found_in_their_groups(name):
    settings = composed("controller", name)
    moved = MOVED_SETTINGS[settings["_target_"]]
    flat = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    flat |= {old: at(settings, path) for old, path in moved.items()}
    expected = copy.deepcopy(settings)
    for path, value in ADDED_SETTINGS[settings["_target_"]].items():  # what older versions did
        group, _, leaf = path.rpartition(".")
        if group and path not in moved.values():
            at(expected, group)[leaf] = value
    assert modernised(flat) == expected


@pytest.mark.parametrize("name", MOVED)
def test_a_setting_that_is_named_keeps_its_value(name):
    settings = composed("controller", name)
    assert modernised(settings) == settings
    for path in ADDED_SETTINGS[settings["_target_"]]:
        assert at(settings, path) is not None


def test_a_run_of_enas_of_an_older_version():
    """The row of settings that conf/controller/enas.yaml had then."""
    old = {
        "_target_": "controllers.enas.ENAS", "layers": 1, "units": 64, "gate_bias": False,
        "init_scale": 0.1, "learning_rate": 0.001, "beta_1": 0.0, "beta_2": 0.999,
        "epsilon": 0.001, "batch_size": 20, "baseline_decay": 0.99, "temperature": None,
        "tanh_constant": 1.5, "op_tanh_reduce": 1.0, "locality": None, "op_bias": None,
        "favoured": [], "fixed_bias": 0.0, "fixed_bias_of": "", "entropy_weight": 0.0001,
        "entropy_of": "chosen", "skip_target": 0.4, "skip_weight": 0.8, "failure_reward": 0.0,
    }  # fmt: skip
    assert modernised(old) == composed("controller", "enas")
