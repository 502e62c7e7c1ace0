"""Splits by content: equal examples on one side, classes in their shares; answers by hand."""

import hashlib

import numpy as np
import pytest

from nas.data.split import apportion, balanced_split, content_hashes, in_turn


def rows(count: int, features: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


def contents(x: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in x}


def test_each_class_gives_its_share_the_lowest_hashes_of_it():
    x, labels = rows(20), np.array([0] * 15 + [1] * 5)
    rest, part = balanced_split(x, labels, 4)
    by_hash = sorted(
        range(20), key=lambda i: hashlib.blake2b(x[i].tobytes(), digest_size=8).digest()
    )
    expected = [i for i in by_hash if i < 15][:3] + [i for i in by_hash if i >= 15][:1]
    assert set(part.tolist()) == set(expected)
    assert sorted([*rest, *part]) == list(range(20))


def test_equal_rows_stay_on_one_side():
    for distinct, copies, size in ((50, 2, 20), (14, 3, 8), (20, 20, 80), (30, 10, 60)):
        x = np.repeat(rows(distinct), copies, axis=0)
        labels = np.repeat(np.arange(distinct) % 2, copies)
        rest, part = balanced_split(x, labels, size)
        assert not contents(x[rest]) & contents(x[part])
        counts = np.bincount(labels[part])
        assert counts[0] == counts[1] and abs(len(part) - size) < copies


def test_rows_that_differ_in_their_labels_alone_stay_together():
    x = np.repeat(rows(40), 2, axis=0)
    rest, part = balanced_split(x, np.tile([0, 1], 40), 16)
    assert len(part) == 16 and not contents(x[rest]) & contents(x[part])


def test_a_few_rows_that_fill_the_table_give_each_label_its_share():
    """400 examples: 200 of a row that is always 0, 200 of one that is a coin; a fifth of each."""
    x = np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)
    labels = np.array([0] * 300 + [1] * 100)
    _, part = balanced_split(x, labels, 80)
    seen = [(int(x[i, 1]), int(labels[i])) for i in part]
    assert [seen.count(pair) for pair in ((0, 0), (1, 0), (1, 1))] == [40, 20, 20]


def test_a_large_group_does_not_take_the_place_of_the_others():
    """90 of 100 rows are equal: the part has two of the ten others and 18 of the equal ones."""
    x = np.concatenate([np.zeros((90, 3), np.float32), rows(10)])
    _, part = balanced_split(x, np.zeros(100, int), 20)
    assert np.count_nonzero(part < 90) == 18 and np.count_nonzero(part >= 90) == 2


def test_every_class_trains_and_two_classes_validate():
    x = rows(20)
    rest, part = balanced_split(x, np.array([0] * 18 + [1] * 2), 4)
    assert np.count_nonzero(rest >= 18) == np.count_nonzero(part >= 18) == 1 and len(part) == 4
    rest, part = balanced_split(x, np.array([0] * 10 + [1] * 9 + [2]), 4)
    assert 19 in rest and len(part) == 4
    rest, part = balanced_split(x, np.arange(20), 4)  # nothing can be spared
    assert len(part) == 0


def test_a_rare_class_in_a_mixed_group_trains():
    x = np.concatenate([rows(30), np.repeat(rows(1, seed=5), 4, axis=0)])
    labels = np.array([0, 1] * 15 + [0, 0, 2, 2])
    for size in range(1, 33):
        rest, _ = balanced_split(x, labels, size)
        assert set(labels[rest].tolist()) == {0, 1, 2}


def test_a_class_of_one_row_many_times_is_divided():
    x = np.repeat(rows(4), 5, axis=0)
    rest, part = balanced_split(x, np.repeat([0, 0, 1, 1], 5), 4)
    assert len(part) == 4 and len(contents(x[part])) == 2


def test_neither_the_order_of_the_file_nor_the_sign_of_zero_matters():
    x = np.concatenate([rows(30), rows(30)[:10]])
    labels = np.arange(40) % 3
    shuffled = np.random.default_rng(1).permutation(40)
    for y in (labels, labels / 7):
        first = balanced_split(x, y, 8)
        second = balanced_split(x[shuffled], y[shuffled], 8)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(x[a], x[shuffled][b])
            np.testing.assert_array_equal(y[a], y[shuffled][b])
    zeros = np.array([[0.0], [-0.0]])
    assert len(set(content_hashes(zeros).tolist())) == 1


def test_numbers_are_balanced_in_their_ranges_even_of_equal_rows():
    """The numbers 0 to 99 for one and the same row: two of each ten validate."""
    for x in (np.ones((100, 2), np.float32), rows(100)):
        y = np.arange(100.0)
        _, part = balanced_split(x, y, 20)
        assert np.bincount(y[part].astype(int) // 10).tolist() == [2] * 10


def test_more_examples_move_few_others():
    x, labels = rows(1000), np.arange(1000) % 2
    before = contents(x[:900][balanced_split(x[:900], labels[:900], 180)[1]])
    after = contents(x[balanced_split(x, labels, 200)[1]])
    assert len(before - after) < 30


@pytest.mark.parametrize(
    "size, counts, seats",
    [
        (5, [70, 25, 5], [4, 1, 0]),
        (3, [1, 1, 1], [0, 0, 0]),
        (4, [2, 98], [0, 4]),
        (9, [3, 6], [2, 5]),
    ],
)
def test_seats_go_by_largest_remainders(size, counts, seats):
    counts = np.array(counts)
    assert apportion(size, counts, counts - 1).tolist() == seats


def test_every_beginning_has_all_classes():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    order = in_turn(labels)
    assert set(labels[order[:3]].tolist()) == {0, 1, 2}
    assert np.bincount(labels[order[:50]]).tolist() == [44, 5, 1]
