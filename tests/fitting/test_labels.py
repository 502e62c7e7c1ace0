"""What y is: known kinds are kept, open ones are refused, and all parts are of one."""

import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.fitting.arrays import prepare
from nas.fitting.labels import column, target


def kinds(y, task="auto", are_images=False):
    return target({"y": column(y, len(y))}, task, are_images=are_images)


class NAType:
    """As pandas.NA, whose class is called so."""

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    "y, labels",
    [
        ([3, 1, 3, 2], [1, 2, 3]),
        (np.array([3, 1, 3, 2], object), [1, 2, 3]),  # no texts
        (np.array([1.0, 0.0, 1.0]), [0, 1]),
        ([True, False, True], [False, True]),
        (["b", "a", "b"], ["a", "b"]),
        (["nan", "a", "None"], ["None", "a", "nan"]),  # texts of a list are meant
        (np.array(["b", "a"], np.dtypes.StringDType()), ["a", "b"]),
        (np.array([b"b", b"a"]), [b"a", b"b"]),
        (np.array([[2], [5], [2]], np.uint64), [2, 5]),
        ([2**60, 2**60 + 1, 2**60], [2**60, 2**60 + 1]),
    ],
)
def test_labels_stay_what_they_are(y, labels):
    found = kinds(y)
    assert found.labels.tolist() == labels and type(found.labels.tolist()[0]) is type(labels[0])
    encoded = found.encoded(column(y, len(y)))
    assert found.labels[encoded].tolist() == np.ravel(column(y, len(y))).tolist()


@pytest.mark.parametrize(
    "y, message",
    [
        (["a", None, "b"], "y must have no missing values, got some, such as None"),
        (["a", float("nan"), "b"], "no missing values, got some, such as nan"),
        ([1, NAType(), 2], "y must have no missing values"),
        (np.array(["a", "nan", "b"]), "no missing values, got 1 of 'nan'; leave these"),
        (["a", " ", "b"], "no missing values, got 1 of ' '"),
        (np.ma.masked_array([1, 2, 3], [0, 1, 0]), "no missing values, got a masked array"),
        ([1, "a", 2], r"y must be of one kind, got whole numbers \(1\) and texts \('a'\)"),
        ([True, 2, 1], "of one kind, got truth values"),
        ([1, 2j, 3], "y must be whole numbers, texts or numbers, got complex"),
        (
            np.array(["2024-01-01", "2024-01-02"], "M8[D]"),
            "numbers, texts or numbers, got datetime",
        ),
        (np.array([b"\xff", b"a"]), "y must be text in UTF-8, got the bytes"),
        ([2**70, 1], "numbers that fit into 64 bits"),
        (np.eye(3), r"one value per example, got \[3, 3\]; one-hot labels become"),
    ],
)
def test_what_is_no_label_is_refused(y, message):
    with pytest.raises(ConfigError, match=message):
        kinds(y)


def test_numbers_that_may_be_amounts_are_asked_about():
    amounts = np.arange(1000) % 300 + 20
    with pytest.raises(ConfigError, match="task must be given, .*: y has 300 different whole"):
        kinds(amounts)
    assert len(kinds(amounts, "classification").labels) == 300
    assert kinds(amounts, "regression").is_regression
    numbered = np.arange(1000) % 100
    with pytest.raises(ConfigError, match="task must be given"):
        kinds(numbered)
    assert len(kinds(numbered, are_images=True).labels) == 100
    names = [f"name {i}" for i in range(200)]
    with pytest.raises(ConfigError, match="200 different texts in 200 examples, such as 'name 0'"):
        kinds(names)
    assert len(kinds(names, "classification").labels) == 200


def test_numbers_to_predict_must_be_within_the_reach_of_float32():
    for y, message in (
        ([0.5, 1e300], "y must be numbers within 1e.30, got 1e.300"),
        ([0.5, 0.5], "y must have different numbers, got 0.5 alone"),
    ):
        with pytest.raises(ConfigError, match=message):
            kinds(y)
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ConfigError, match="y must have numbers that float32 tells apart"):
        prepare(x, 1e9 + x[:, 0], valid_share=0.2)


X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1)).astype(np.uint8)


@pytest.mark.parametrize(
    "x, y, test, message",
    [
        (X, Y, (X[:9, :3], Y[:9]), r"test's x must be examples .* \[60, 4\], got \[9, 3\]"),
        (X, Y, (X[:9], Y[:8]), r"test's y must be \[9\], one value per example, got \[8\]"),
        (X, Y, (X[:9], Y[:9].astype(str)), r"test's y must be whole numbers as y is, got texts"),
        (X, Y, (X[:9], [7] * 9), r"test's y must have labels of y, \[0, 1\], got \[7\]"),
        (X, Y, (X[:9] * np.nan, Y[:9]), "test's x must be finite numbers"),
        (X, X[:, 1], (X[:9], [0.5] * 9), "test's y must have different numbers, got 0.5 alone"),
        (X, Y, X, r"test must be \(x, y\), got ndarray"),
        (IMAGES, Y, (IMAGES / 255, Y), "test's x must be uint8 as x is, got float64"),
        (IMAGES / 255, Y, (IMAGES * 1.0, Y), "test's x must have the scale of x, .* up to 1, got"),
    ],
)
def test_a_test_part_of_another_kind_is_refused(x, y, test, message):
    with pytest.raises(ConfigError, match=message):
        prepare(x, y, valid_share=0.2, test=test)


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((4, 3, 32, 32)), r"looks like \[n, channels, height, width\]; .*transpose"),
        (X * 1e-9, "x must have numbers that differ by more than 1e-06, got a deviation of"),
        (X * 1e30, "x must be numbers within 1e.18, got larger ones"),
        (np.ma.masked_array(X, X > 2), "x must have no missing values, got a masked array"),
        ([[1, 2], [3]], "x must be examples of one shape"),
    ],
)
def test_examples_that_a_network_cannot_take_are_refused(x, message):
    with pytest.raises(ConfigError, match=message):
        prepare(x, np.arange(len(x)) % 2, valid_share=0.2)


def test_it_says_what_it_read_as_what():
    data = prepare(X, Y, valid_share=0.2, test=(X[:9], [0, 1, 2] * 3))
    counts = np.bincount(Y).tolist()
    assert data.read_as == (
        f"60 vectors of 4 numbers (float64), 2 classes (0 {counts[0]}, 1 {counts[1]}) of whole "
        "numbers: 48 train, 12 validate, 9 test; 3 test labels are of no class of y and count as "
        "wrong"
    )
    images = prepare(IMAGES[..., 0], X[:, 0], valid_share=0.2)
    assert images.read_as.startswith("60 images of 6x6 (uint8), regression of y from -2.")
    given = prepare(X, Y, valid_share=0.2, validation=(X[:3], [0, 1, 2]))
    assert given.read_as.endswith("3 validate; no training example is of 2")


def test_values_that_float32_makes_equal_are_told_and_validated_by_their_shares():
    x = np.stack([1e9 + np.arange(200) % 20, np.zeros(200)], 1)  # float32 knows multiples of 64
    y = np.array([0, 0, 1, 0] * 50)
    data = prepare(x, y, valid_share=0.2)
    assert data.read_as.endswith(
        "x[:, 0] has 20 different values, of which float32 keeps 1: subtract its mean"
    )
    assert np.bincount(data.valid_labels).tolist() == [30, 10]  # three quarters, as of all
