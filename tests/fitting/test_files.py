"""nas fit reads tables and folders as arrays, and says in one line what is wrong with a file."""

import numpy as np
import pytest
from PIL import Image

from nas.core.trial import ConfigError
from nas.fitting.arrays import prepare
from nas.fitting.files import read
from nas.fitting.tables import TableSettings

TABLE = """age,city,paid
30,Bern,1.5
?,Genf,2
50,Bern,4.25
,"Basel",3
"""


@pytest.fixture
def table(tmp_path):
    def write(text=TABLE):
        (tmp_path / "t.csv").write_text(text)
        return tmp_path / "t.csv"

    return write


def test_a_table_becomes_numbers(table):
    found = read(table())
    assert found.features == ("age", "age is missing", "city=Basel", "city=Bern", "city=Genf")
    np.testing.assert_array_equal(
        found.x,
        [[30, 0, 0, 1, 0], [40, 1, 0, 0, 1], [50, 0, 0, 1, 0], [40, 1, 1, 0, 0]],  # median 40
    )
    np.testing.assert_array_equal(found.y, [1.5, 2, 4.25, 3])
    assert prepare(found.x, found.y, valid_share=0.5).is_regression


def test_another_column_may_be_the_target(table):
    found = read(table(), table=TableSettings(target="city"))
    assert found.features == ("age", "age is missing", "paid")
    assert found.y.tolist() == ["Bern", "Genf", "Bern", "Basel"]


def test_texts_of_which_there_are_too_many_leave_the_frequent_ones(table):
    rows = [f"name{i},{i % 2}" for i in range(40)] + ["often,1"] * 3
    found = read(table("\n".join(["who,y", *rows])))
    assert len(found.features) == 30 and "who=often" in found.features


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must be a table with a line of names"),
        ("a,a\n1,2\n", "at least 2 different column names"),
        ("a,b\n", "and 0 rows"),
        ("a,b\n1,2\n3\n", "every row must have 2 columns, line 3 of .* has 1"),
        (
            "a,b\n1,2\n3,\n",
            "--target must be a column without gaps, b lacks 1 values, the first in line 3",
        ),
    ],
)
def test_what_is_no_table_is_refused(table, text, message):
    with pytest.raises(ConfigError, match=message):
        read(table(text))


def test_a_target_that_is_not_there_is_refused(table):
    with pytest.raises(ConfigError, match="--target must be one of age, city, paid, got size"):
        read(table(), table=TableSettings(target="size"))


def test_a_folder_becomes_images_and_the_names_of_their_folders(tmp_path):
    for part, count in (("train", 3), ("test", 1)):
        for name, value in (("cat", 10), ("dog", 200)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((9, 7, 3), value, np.uint8)).save(folder / f"{i}.png")
    found = read(tmp_path, image_size=6)
    assert found.x.shape == (6, 6, 6, 3) and found.x.dtype == np.uint8
    assert found.y.tolist() == ["cat"] * 3 + ["dog"] * 3
    images, labels = found.test
    assert (images[labels == "dog"] == 200).all() and labels.tolist() == ["cat", "dog"]
