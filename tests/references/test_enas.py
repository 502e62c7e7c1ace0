"""The policy of ENAS' macro search gives the probabilities, entropies and penalties of its code."""

from pathlib import Path

import numpy as np
import pytest

from nas.controllers.policies.settings import (
    AdamSettings,
    LogitShaping,
    LSTMSettings,
    Regularization,
)
from nas.search_spaces.papers.enas_macro.space import ENASMacro

ANSWERS = np.load(Path(__file__).parent / "enas.npz")
UNITS, BRANCHES = 8, 6


@pytest.fixture(scope="module")
def policy():
    """With the official weights, whose gates are in the order input, forget, output, candidate."""
    from nas.controllers.policies.enas import ENASPolicy

    policy = ENASPolicy(
        ENASMacro(layers=4),
        LSTMSettings(layers=1, units=UNITS, init_scale=0.1, gate_bias=False),
        AdamSettings(learning_rate=0.001),
        LogitShaping(tanh_constant=1.5),
        Regularization(entropy_of="chosen", skip_target=0.4),
        rng=np.random.default_rng(0),
    )
    rng = np.random.default_rng(0)
    shapes = [(2 * UNITS, 4 * UNITS), (1, UNITS), (BRANCHES, UNITS), (UNITS, BRANCHES)]
    shapes += [(UNITS, UNITS), (UNITS, UNITS), (UNITS, 1)]
    lstm, start, embedding, softmax, anchors, query, v = (rng.normal(size=s) for s in shapes)
    i, f, o, g = np.split(lstm, 4, 1)
    policy.kernels[0].assign(np.concatenate([i, f, g, o], 1))
    policy.start.assign(start)
    policy.embeddings[0].assign(embedding)
    policy.out_kernels[0].assign(softmax)
    policy.w_prev.assign(anchors)
    policy.w_curr.assign(query)
    policy.v.assign(v[:, 0])
    return policy


def test_log_probabilities_entropies_and_penalties(policy):
    archs = [tuple(row) for row in ANSWERS["archs"].tolist()]
    log_p, entropy, penalty = policy._terms(*policy._tensors(archs))
    np.testing.assert_allclose(-log_p, ANSWERS["log_prob"], rtol=1e-5)
    np.testing.assert_allclose(entropy, ANSWERS["entropy"], rtol=1e-5)
    np.testing.assert_allclose(penalty, ANSWERS["penalty"], rtol=1e-5)
