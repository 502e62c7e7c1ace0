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


NUMBERS = "id,a,b,t\n" + "".join(
    f"r{i},{i}.5,{i % 3},{'yes' if i % 2 else 'no'}\n" for i in range(9)
)


def test_it_says_what_each_column_is(table):
    rows = "".join(
        f"{i},r{i},{i}.5,{'xy'[i % 2]},,1,{'yes' if i % 2 else 'no'}\n" for i in range(9)
    )
    found = read(table(f",id,a,kind,gone,same,t\n{rows}"))
    assert found.read_as == (
        "t.csv: 9 rows, target t; numbers: a; texts: kind (2 texts); left out: the first, without "
        "a name (it counts the rows), id (each text once), gone (empty), same (one value); 9 "
        "missing values"
    )
    assert found.features == ("a", "kind=x", "kind=y")


@pytest.mark.parametrize(
    "change, message",
    [
        (("4.5", '"4,5"'), "column a .* got 8 numbers and 1 others, the first '4,5' in line 6"),
        (("4.5", "n.a."), "set --texts a, --missing 'n.a.' or --decimal"),
        (("4.5", "1_0"), "got 8 numbers and 1 others, the first '1_0'"),
        (("4.5", "1e999"), "column a must be numbers that fit into float32, got 1e999 in line 6"),
        (("id,a,b,t", "id,a,b,"), "every column must have a name"),
        (("id,a,b,t", "id,a,7,t"), "first line of .* has the number 7; set --header no or"),
        ((",", ";"), "has one, 'id;a;b;t'; set --delimiter ';'"),
        (("r4", '"r4'), "cannot be read after line"),
    ],
)
def test_a_table_that_can_be_read_in_several_ways_is_refused(table, change, message):
    with pytest.raises(ConfigError, match=message):
        read(table(NUMBERS.replace(*change)))


def test_a_setting_says_how_it_is_to_be_read(table):
    def numbers(text, **settings):
        found = read(table(text), table=TableSettings(**settings))
        return found.x[:, found.features.index("a")]

    plain = numbers(NUMBERS)
    np.testing.assert_array_equal(plain, np.arange(9) + 0.5)
    commas = NUMBERS.replace(",", ";").replace(".", ",")
    np.testing.assert_array_equal(numbers(commas, delimiter=";", decimal=","), plain)
    with pytest.raises(ConfigError, match="numbers such as 1234.5, or texts, got '0,5' in line 2"):
        numbers(commas, delimiter=";")
    np.testing.assert_array_equal(numbers(NUMBERS.replace("4.5", "x"), missing=("x",)), plain)
    as_texts = read(table(NUMBERS), table=TableSettings(texts=("b",), leave_out=("a",)))
    assert as_texts.features == ("b=0", "b=1", "b=2")
    headless = read(table(NUMBERS.partition("\n")[2]), table=TableSettings(header="no"))
    assert headless.features == ("column2", "column3")
    none = NUMBERS.replace("no\n", "none\n")
    with pytest.raises(ConfigError, match="without gaps, t lacks 5 values, the first in line 2"):
        read(table(none))
    found = read(table(none), table=TableSettings(missing=()))
    assert prepare(found.x, found.y, valid_share=0.3).labels.tolist() == ["none", "yes"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"delimiter": "ab"}, "--delimiter must be one character, got 'ab'"),
        ({"decimal": ","}, "--decimal and --delimiter must differ"),
    ],
)
def test_wrong_settings_of_a_table_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TableSettings(**settings)


def test_columns_that_are_not_there_are_named(table):
    for settings, message in (
        ({"texts": ("c",)}, "--texts must name columns, id, a, b, t, got c"),
        ({"leave_out": ("id", "a", "b")}, "--leave-out must leave a target and another column"),
        ({"leave_out": ("t",), "target": "t"}, "--target must not be left out"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(table(NUMBERS), table=TableSettings(**settings))


def test_whole_numbers_of_a_target_stay_whole(table):
    found = read(table(NUMBERS), table=TableSettings(target="b"))
    assert found.y.dtype.kind == "i" and found.y.tolist() == [i % 3 for i in range(9)]
