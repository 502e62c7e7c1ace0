"""NAS-Bench-101's modules: how many there are, their names, their networks."""

import functools
import itertools

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers import nasbench101 as nb
from nas.search_spaces.papers.nasbench101 import (
    CONV_1X1,
    CONV_3X3,
    EDGES,
    MAX_POOL,
    OPERATIONS,
    Module,
    from_matrix,
    from_text,
    module_hash,
    vertex_channels,
)

SPACE = nb.NASBench101()
PAPER = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=3, channels=128)
# The Inception-like module of the official notebook (NASBench.ipynb, "Basic usage"), as it is asked
# for there, and as it lies in the table.
INCEPTION = (
    "0111010" "0000001" "0000001" "0000100" "0000001" "0000001" "0000000"
    ":input,conv1x1-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,maxpool3x3,output"
)  # fmt: skip
INCEPTION_AGAIN = (
    "0111100" "0000001" "0000001" "0000001" "0000010" "0000001" "0000000"
    ":input,conv3x3-bn-relu,conv1x1-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,output"
)  # fmt: skip


def module(edges: str, *operations: int) -> Module:
    """Of edges as "01 12", vertices numbered without gaps."""
    n = len(operations) + 2
    pairs = {(int(a), int(b)) for a, b in edges.split()}
    return Module(tuple(tuple((a, b) in pairs for b in range(n)) for a in range(n)), operations)


def arch_of(edges: str, *operations: int):
    """Of edges among the seven vertices, the output being 6; operations of vertices 1, 2 ..."""
    pairs = {(int(a), int(b)) for a, b in edges.split()}
    chosen = [OPERATIONS[choice] for choice in (*operations, *[0] * (5 - len(operations)))]
    matrix = [[(a, b) in pairs for b in range(7)] for a in range(7)]
    return from_matrix(matrix, ["input", *chosen, "output"])


def test_the_encoding_is_the_papers():
    """2^21 x 3^5 in all (section 2.2), of which some are no module."""
    choices = [len(decision.choices) for decision in SPACE.decisions]
    assert np.prod(choices) == 2**21 * 3**5 == 509_607_936
    assert SPACE.size == 1_538_083 * 3**5


def test_a_sample_is_valid_as_often_as_was_counted():
    rng = np.random.default_rng(0)
    tries, valid = 4000, 0
    for _ in range(tries):
        drawn = [bool(bit) for bit in rng.integers(0, 2, 21)]
        matrix = np.zeros((7, 7), bool)
        matrix[np.triu_indices(7, 1)] = drawn
        valid += 0 < live_edges(matrix) <= EDGES
    p = SPACE.size / 509_607_936
    # Five standard deviations: fails wrongly once in a million runs.
    assert abs(valid - tries * p) < 5 * np.sqrt(tries * p * (1 - p))


def live_edges(matrix) -> int:
    """Edges on a way from the first to the last vertex, by powers of the matrix."""
    reach = np.linalg.matrix_power(matrix.astype(int) + np.eye(7, dtype=int), 7) > 0
    return int((matrix & reach[0][:, None] & reach[:, -1][None, :]).sum())


def test_what_is_open_is_what_can_still_become_valid():
    """Against all completions of the output's edges, for random beginnings."""
    rng = np.random.default_rng(1)
    upper = np.triu_indices(7, 1)
    for _ in range(40):
        bits = (rng.random(21) < rng.choice([0.2, 0.5, 0.9])).astype(int)
        matrix = np.zeros((7, 7), bool)
        matrix[upper] = bits
        begun = tuple(
            int(matrix[int(d.name[4]), int(d.name[7])]) if d.name.startswith("edge") else 0
            for d in SPACE.decisions[:-6]
        )
        good = set()
        for last in itertools.product((0, 1), repeat=6):
            matrix[:6, 6] = last
            if 0 < live_edges(matrix) <= EDGES:
                good.add(last)
        for length in range(6):
            for prefix in {last[:length] for last in good}:
                expected = {last[length] for last in good if last[:length] == prefix}
                assert set(SPACE.allowed(begun + prefix)) == expected


def test_pruning_keeps_what_lies_between_input_and_output():
    # 2 feeds nothing, 3 is fed by nothing, 4 only by 3.
    arch = arch_of("01 02 12 16 34 46", CONV_1X1, CONV_3X3, CONV_3X3, CONV_3X3)
    assert SPACE.module(arch) == module("01 12", CONV_1X1)
    assert SPACE.module(arch_of("06")) == module("01")


def test_more_than_nine_edges_are_fine_where_pruning_takes_them():
    dangling = "12 13 14 15 23 24 25 34 35 45"
    assert SPACE.module(arch_of(f"06 {dangling}")) == module("01")
    with pytest.raises(ValueError, match="over at most 9 edges"):
        arch_of("01 02 03 04 05 16 26 36 46 56")


def test_modules_that_are_one_graph_have_one_key():
    assert SPACE.key(from_text(INCEPTION)) == SPACE.key(from_text(INCEPTION_AGAIN))
    one = arch_of("01 12 26 03 36", CONV_3X3, CONV_1X1, MAX_POOL)
    two = arch_of("03 34 46 02 26", CONV_3X3, MAX_POOL, CONV_3X3, CONV_1X1)
    other = arch_of("01 12 26 03 36", CONV_1X1, CONV_3X3, MAX_POOL)
    assert SPACE.key(one) == SPACE.key(two) != SPACE.key(other)


@pytest.mark.parametrize(
    "module, official",
    [
        (module("01"), "043721b9c7fe8c5fad811d47d83132ec"),
        (module("01 12", CONV_3X3), "b49ac8c578b4561d79ac7087988f1c61"),
        (module("01 12 02", MAX_POOL), "6f6257bc3b12d87b8736e81cd4b7ed8b"),
        (SPACE.module(from_text(INCEPTION)), "28cfc7874f6d200472e1a9dcd8650aa0"),
    ],
)
def test_hashes_of_the_official_code(module, official):
    """As google-research/nasbench's graph_util.hash_module gave them."""
    assert module_hash(module) == official


def test_there_are_423624_modules():
    """Labelled graphs up to isomorphism (section 2.2), by Burnside's lemma."""
    counted = 0
    for n in range(2, 8):
        for _, symmetries in graphs(n):
            counted += sum(3 ** cycle_count(p) for p in symmetries) // len(symmetries)
    assert counted == 423_624


@pytest.mark.slow
def test_the_hash_tells_all_modules_apart(monkeypatch):
    monkeypatch.setattr(nb, "_md5", functools.lru_cache(maxsize=2**20)(nb._md5))
    hashes = {
        module_hash(Module(edges, labels))
        for n in range(2, 8)
        for edges, _ in graphs(n)
        for labels in itertools.product(range(3), repeat=n - 2)
    }
    assert len(hashes) == 423_624


def graphs(n: int):
    """One of each class of pruned graphs of n vertices, and its permutations onto itself."""
    pairs = list(itertools.combinations(range(n), 2))
    codes = np.arange(2 ** len(pairs), dtype=np.int64)
    bit = {pair: codes >> i & 1 for i, pair in enumerate(pairs)}
    keep = sum(bit.values()) <= EDGES
    for v in range(n):  # pruned: all but the input are fed, all but the output feed
        keep &= (v == 0) | (sum(bit[a, b] for a, b in pairs if b == v) > 0)
        keep &= (v == n - 1) | (sum(bit[a, b] for a, b in pairs if a == v) > 0)
    codes = codes[keep]
    bit = {pair: bit[pair][keep] for pair in pairs}
    place, least, same = {pair: i for i, pair in enumerate(pairs)}, codes.copy(), []
    for inner in itertools.permutations(range(1, n - 1)):
        p = (0, *inner, n - 1)
        moved, is_upper = np.zeros_like(codes), np.ones(len(codes), bool)
        for (a, b), there in bit.items():
            if p[a] < p[b]:
                moved += there << place[p[a], p[b]]
            else:
                is_upper &= there == 0
        least = np.where(is_upper, np.minimum(least, moved), least)
        same.append((inner, is_upper & (moved == codes)))
    for i in np.flatnonzero(least == codes):
        edges = [[False] * n for _ in range(n)]
        for pair in pairs:
            edges[pair[0]][pair[1]] = bool(bit[pair][i])
        yield tuple(map(tuple, edges)), [inner for inner, is_same in same if is_same[i]]


def cycle_count(inner: tuple[int, ...]) -> int:
    """Of the permutation that takes vertex i + 1 to inner[i]."""
    left, cycles = set(inner), 0
    while left:
        cycles, v = cycles + 1, left.pop()
        while (v := inner[v - 1]) in left:
            left.remove(v)
    return cycles


def test_text_round_trip_and_shorter_modules():
    arch = from_text(INCEPTION)
    assert SPACE.parse(INCEPTION) == arch == SPACE.parse(",".join(map(str, arch)))
    assert SPACE.module(SPACE.parse(nb.EXAMPLE)) == module("01 12", CONV_3X3)


@pytest.mark.parametrize(
    "text, words",
    [
        ("0100:input,output,output", "3 vertices need 9 digits 0 or 1, got 4"),
        ("0110:input,output", "upper triangular"),
        ("0000:input,output", "the output must be reached, over at most 9 edges"),
        ("011000000:input,conv5x5,output", "operations must be among conv3x3-.* got conv5x5"),
        ("0100:output,input", "2 to 7 vertices, input first and output last"),
    ],
)
def test_other_modules_are_refused(text, words):
    with pytest.raises(ConfigError, match=f"genotype must be ROWS:.*{words}.*; set genotype=0100"):
        SPACE.parse(text)


def test_channels_are_shared_out_among_what_feeds_the_output():
    three = module("01 02 03 14 24 34", CONV_3X3, CONV_3X3, CONV_3X3)
    assert vertex_channels(three, 128) == [0, 43, 43, 42]
    # 1 feeds 2 (43) and 4 (42): it has the most of them, and 4 takes its first ones.
    wide = module("01 12 14 03 25 35 45", CONV_3X3, CONV_3X3, CONV_1X1, CONV_1X1)
    assert vertex_channels(wide, 128) == [0, 43, 43, 43, 42]
    assert vertex_channels(module("01 12 02", MAX_POOL), 128) == [0, 128]
    assert vertex_channels(three, 2) == [0, 1, 1, 1]


def test_parameters_of_the_official_notebook():
    """NASBench.ipynb prints trainable_parameters: 2694282 for this module."""
    for text in (INCEPTION, INCEPTION_AGAIN):
        assert SPACE.cost(from_text(text), PAPER).parameters == 2_694_282


def test_parameters_counted_by_hand():
    """Input to output alone: a stem, nine 1x1 projections, a dense layer."""
    stem, dense = 27 * 128 + 2 * 128, 513 * 10
    ways = [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 2 + [(256, 512)] + [(512, 512)] * 2
    projections = sum(a * b + 2 * b for a, b in ways)
    assert SPACE.cost(arch_of("06"), PAPER).parameters == stem + projections + dense


@pytest.mark.slow
def test_the_built_model_has_as_many():
    model = SPACE.build(from_text(INCEPTION), PAPER)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 2_694_282


def test_a_vertex_takes_the_first_channels_of_a_wider_one():
    """1 has 43 channels, 4 has 42: pooled, it is the pooled first 42 of 1."""
    import keras

    from nas.ops.keras import KerasOps

    ops = KerasOps((4, 4, 5))
    taken = ops.first(ops.image(), 3)
    model = keras.Model(ops.input, [taken, ops.first(taken, 3)])
    x = np.random.default_rng(0).random((2, 4, 4, 5), np.float32)
    for y in model(x):
        np.testing.assert_array_equal(y, x[..., :3])


def test_a_module_with_unequal_channels_trains_and_is_saved(tmp_path):
    import keras
    import tensorflow as tf

    arch = arch_of("01 12 14 03 26 36 46", CONV_3X3, CONV_3X3, CONV_1X1, MAX_POOL)
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=1, channels=8)
    model = SPACE.build(arch, skeleton)
    assert any(isinstance(layer, keras.layers.Cropping2D) for layer in model.layers)
    images = tf.random.stateless_uniform((4, 8, 8, 1), (0, 0))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=True)))
    assert None not in tape.gradient(loss, model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(images), model(images))
