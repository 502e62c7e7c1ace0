"""Training on several devices or with XLA gives the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.training import devices
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers.small_images import make, some
from tests.training.test_recipe import linear

ROOT = Path(__file__).parents[2]


def on_two(kind):
    done = subprocess.run(
        [sys.executable, "tests/helpers/several_devices.py", kind],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_share_a_batch_and_end_with_the_weights_of_one():
    result = on_two("PLAIN")
    assert result["difference"] < 1e-5
    np.testing.assert_allclose(*result["losses"], rtol=1e-4)


@pytest.mark.slow
def test_two_devices_with_batch_normalisation_learn():
    """Each device normalises only its share, so the numbers differ a little; the network learns."""
    losses = on_two("NORMALISED")["losses"]
    assert losses[1][1] < losses[1][0]


def test_one_device_is_not_several():
    with pytest.raises(ConfigError, match="several_devices needs at least 2 GPUs, got 0"):
        devices.strategy(Recipe(several_devices=True))


def test_xla_gives_what_the_graph_gives():
    data, losses = make(*some(40)), []
    for xla in (False, True):
        recipe = Recipe(epochs=2, batch_size=10, xla=xla)
        losses.append(image.fit(linear(), data, recipe, seed=0)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
