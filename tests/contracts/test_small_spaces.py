"""Small instances of every space, looked at whole: how many there are, how they are drawn, which of
them are one network. A space without an instance here fails until it has one."""

import collections
import functools
import math

import hydra
import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from tests.helpers.canonical_network import OrderedTermOps, TermOps, term
from tests.helpers.hydra_configs import composed, names

GROWTH = {"_target_": "nas.search_spaces.papers.growing.settings.GrowthSettings"}
CELL = {"nodes": 1, "operations": ["identity", "sep_3x3", "max_pool_3x3"]}
SMALL = {
    "amoebanet": CELL,
    "auto_keras": {
        "slots": 3, "kernels": [1, 3], "filters": [8, 16], "pool_after": [2],
        "growth": GROWTH | {"start_filters": [[8], [8]], "start_units": [4]},
        "hidden": 2, "units": [4, 8], "residual_blocks": 0,
    },
    "cgp_cnn": {
        "rows": 1, "columns": 3, "levels_back": 2, "min_active": 2, "max_active": 3,
        "filters": [8], "kernels": [3],
    },
    "darts": CELL | {"nodes": 2, "operations": ["identity", "sep_3x3"]},
    "darts_rnn": {"nodes": 3},
    "densenet": {"blocks": 2, "slots": 3, "growth_rates": [4, 8]},
    "enas_macro": {"layers": 4, "operations": ["conv_3x3", "max_pool_3x3"]},
    "enas_micro": CELL,
    "enas_rnn": {"nodes": 3},
    "enas_rnn_released": {"nodes": 3},
    "genetic_cnn": {"nodes": [3, 4], "filters": [8, 8]},
    "hierarchical": {"nodes": [3, 3], "motifs": [1, 1], "mutations": 40},
    "large_scale_evolution": {
        "slots": 2, "sizes": [3], "strides": [1], "octaves": [0, 0], "filled": 0.5,
    },
    "metaqnn": {"image_size": 8, "layers": 4, "filters": [8], "kernels": [1, 3], "units": [4, 2]},
    "morphism": {"slots": 3, "kernels": [1, 3], "filters": [0, 8], "pool_after": [2]},
    "nasbench101": None,  # of one size, too large: counted in test_nasbench101.py
    "nasbench201": {},
    "nasnet": CELL | {"operations": ["identity", "max_pool_3x3"]},
    "path_level": {
        "depth": 2, "add": [2], "edges": ["identity", "depth_conv_3x3", "max_pool_3x3"],
    },
    "plain": {
        "slots": 3, "kernels": [1, 3], "filters": [8, 16], "pool_after": [2], "hidden": 2,
        "units": [4, 8], "growth": GROWTH | {"start_units": [4]},
    },
    "zoph2017": {
        "layers": [2, 3], "filter_heights": [1, 3], "filter_widths": [1], "filters": [8],
        "strides": [1, 2], "pool_after": [1],
    },
    "zoph2017_rnn": {"base": 2},
}  # fmt: skip
SKELETON = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=1, channels=12)
INSTANCES = [name for name in names("space") if SMALL.get(name, {}) is not None]
every_space = pytest.mark.parametrize("name", INSTANCES)
every_image_space = pytest.mark.parametrize("name", [n for n in INSTANCES if "_rnn" not in n])


@functools.cache
def small(name):
    return hydra.utils.instantiate(composed("space", name) | SMALL[name], _convert_="object")


@functools.cache
def every_arch(name):
    space, archs = small(name), [()]
    for _ in space.decisions:
        archs = [(*arch, choice) for arch in archs for choice in space.allowed(arch)]
    return archs


def by_decision(space, arch):
    """Each open choice is as likely."""
    return math.prod(1 / len(space.allowed(arch[:i])) for i in range(len(arch)))


def within_limits(space, arch):
    """Every network within the limits of CGP-CNN is as likely."""
    return float(space.within_limits(arch))


def half_filled(space, arch):
    """A slot is filled in half of the cases, and has a skip in half of those at most."""
    p = 1.0
    for i, decision in enumerate(space.decisions):
        open_choices = space.allowed(arch[:i])
        if decision.name.endswith(("kernel", "units", "edge")):
            p *= 0.5 / (len(open_choices) - 1) if arch[i] else 0.5
        else:
            p /= len(open_choices)
            if decision.name.endswith("skip"):
                p = p / 2 if arch[i] else (p * len(open_choices) + p) / 2
    return p


def mutated_long(space, arch):
    """Where random mutations of hierarchical motifs lead: in proportion to the ways out."""
    ways = 0.0
    for level in space.levels:
        for motif in level:
            for i in range(1, motif.nodes):
                for at in (motif.entry(j, i) for j in range(i)):
                    others = [c for c in range(len(motif.choices)) if c != arch[at]]
                    left = [motif.joined((*arch[:at], c, *arch[at + 1 :])) for c in others]
                    chance = len(space.levels) * len(level) * (motif.nodes - 1) * i * len(others)
                    ways += sum(left) / chance
    return ways


# Of these some networks are one by a coincidence that their keys do not see.
MORE_KEYS = {
    "cgp_cnn",  # the larger image is max pooled on its way to a sum, as if by a node
    "large_scale_evolution",  # factors that give equal numbers of channels
    "hierarchical",  # a 1x1 convolution inside a motif may be like the one behind it
    "nasbench201",  # its names, the benchmark's
    "path_level",  # branches may be concatenated in another order
}
DRAWN = {
    "auto_keras": half_filled, "cgp_cnn": within_limits, "morphism": half_filled,
    "plain": half_filled, "hierarchical": mutated_long, "large_scale_evolution": half_filled,
}  # fmt: skip


def test_every_space_has_a_small_instance():
    assert set(SMALL) == set(names("space"))


@every_space
def test_the_size_is_the_number_of_architectures(name):
    assert small(name).size == len(every_arch(name)) <= 40_000


@every_space
def test_samples_are_drawn_as_is_said(name):
    """Chi-square over all architectures, the rarest together: six deviations above its mean."""
    space, archs = small(name), every_arch(name)
    p = np.array([DRAWN.get(name, by_decision)(space, arch) for arch in archs])
    p /= p.sum()
    rng, draws = np.random.default_rng(0), 4000
    drawn = collections.Counter(space.sample(rng) for _ in range(draws))
    found = np.array([drawn[arch] for arch in archs])
    assert found.sum() == draws and not found[p == 0].any()
    order = np.argsort(p)
    bins = (np.cumsum(p[order]) * draws / 8).astype(int)  # some 8 are expected in each
    expected = np.bincount(bins, p[order]) * draws
    counts = np.bincount(bins, found[order])
    counts, expected = counts[expected > 4], expected[expected > 4]
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < len(counts) + 6 * math.sqrt(2 * len(counts))


@every_image_space
def test_keys_are_equal_for_equal_networks_and_no_others(name):
    space, archs = small(name), every_arch(name)
    ops = OrderedTermOps if name == "cgp_cnn" else TermOps  # a padded sum reads the first channels
    networks, keys = collections.defaultdict(set), collections.defaultdict(set)
    for i in np.random.default_rng(0).permutation(len(archs))[:400]:
        network = term(space, archs[i], SKELETON, ops)
        networks[space.key(archs[i])].add(network)
        keys[network].add(space.key(archs[i]))
    if name != "nasbench201":  # its names, the benchmark's, do not tell shared from equal layers
        assert all(len(some) == 1 for some in networks.values())
    if name not in MORE_KEYS:
        assert all(len(some) == 1 for some in keys.values())
