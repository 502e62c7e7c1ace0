"""JSON values and files: what is written is valid, what is read has its shape, text is UTF-8."""

import ast
import io
import json
import math
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas.core.files import printable, read_arrays, write_atomically
from nas.core.json_values import dumped, misfit, parsed, plain, read_json
from nas.core.trial import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "value, expected",
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        ({"a": (np.float64(1.0), None)}, {"a": [1.0, None]}),
        ({1: "x"}, {"1": "x"}),
    ],
)
def test_numbers_of_other_libraries_become_pythons(value, expected):
    assert plain(value, "m") == expected
    assert type(plain(value, "m")) is type(expected)


def test_what_json_cannot_hold_is_named():
    with pytest.raises(TypeError, match="m.net must be a number, a text, .* got object"):
        plain({"net": object()}, "m")


def test_what_is_not_finite_is_null():
    values = {"a": math.nan, "b": [math.inf, -math.inf, 1.0], "c": {"d": np.float32("nan")}}
    assert json.loads(dumped(values)) == {"a": None, "b": [None, None, 1.0], "c": {"d": None}}


@pytest.mark.parametrize(
    "text, shape, told",
    [
        ("[1", [int], "Expecting"),
        ("[" * 100_000, [int], "nested too deeply"),
        ('{"a": 1}', [int], "it must be a list, got a dict"),
        ('[1, "b"]', [int], r"\[1\] must be a whole number, got a text"),
        ("[true]", [int], r"\[0\] must be a whole number, got true or false"),
        ("[1.5]", [int], "must be a whole number, got a number"),
        ("{}", {"seeds": [int]}, "seeds is missing"),
        (
            '{"seeds": [1], "best": {"trial": null}}',
            {"best?": {"trial": int}},
            "best.trial must be",
        ),
        ('{"a": {"b": "c"}}', {str: {str: float}}, "a.b must be a number, got a text"),
    ],
)
def test_another_shape_is_told(text, shape, told):
    with pytest.raises(ValueError, match=told):
        parsed(text, shape)


def test_what_fits_fits():
    shape = {"n": float, "best?": ({"trial": int}, None), str: (float, None)}
    assert misfit({"n": 1, "best": None, "more": None}, shape) is None
    assert parsed("[1, null]", [(float, None)]) == [1, None]


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "x.json").write_text("[3]")
    with pytest.raises(ConfigError, match=r"x.json is damaged \(it must be a dict, got a list\)"):
        read_json(tmp_path / "x.json", {}, "do this")


def test_a_text_cannot_forge_a_line():
    assert printable("a\n2026-01-01 trial 9\x1b[31m\u202eb") == "a 2026-01-01 trial 9 [31m b"


def npz(**arrays):
    blob = io.BytesIO()
    np.savez(blob, **arrays)
    return blob.getvalue()


def claiming(shape):
    """An .npz whose only array claims that shape of float64 and has eight bytes."""
    header = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + struct.pack("<d", 1.0))
    return blob.getvalue()


def test_arrays_are_read():
    read = read_arrays(io.BytesIO(npz(a=np.arange(6.0).reshape(2, 3), b=np.array("text"))))
    assert (read["a"] == np.arange(6.0).reshape(2, 3)).all() and str(read["b"]) == "text"
    assert read_arrays(io.BytesIO(claiming((1,))))["a"] == [1.0]


@pytest.mark.parametrize(
    "blob",
    [
        claiming((80_000_000_000_000,)),  # 582 TiB
        claiming((0,)),
        npz(a=np.array([{}], object)),
        npz(a=np.arange(4))[:100],
        b"no zip",
    ],
)
def test_an_array_that_claims_what_is_not_there_is_refused(blob):
    with pytest.raises(ValueError, match="no whole .npz"):
        read_arrays(io.BytesIO(blob))


def test_text_is_utf8_whatever_the_locale(tmp_path):
    write_atomically(tmp_path / "x", "größe – ±")
    assert (tmp_path / "x").read_bytes() == "größe – ±".encode()


def opens_text_in_the_locales_encoding(node):
    if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    mode = next((a.value for a in node.args if isinstance(a, ast.Constant)), "r")
    if name == "open" and isinstance(mode, str):
        module = getattr(getattr(node.func, "value", None), "id", "")
        return "b" not in mode and module not in ("os", "archive", "Image")
    return name in ("read_text", "write_text") and not (name == "read_text" and node.args)


OTHERS = ("data", "fitting")  # rooms whose files are read by libraries


@pytest.mark.parametrize(
    "file",
    [
        file
        for folder in ("nas", "search_spaces", "controllers", "benchmarks")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not any(p.is_symlink() for p in file.parents)
        and file.parent.name not in OTHERS
        and file.name != "fit.py"
    ],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_every_file_of_text_names_its_encoding(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    wrong = [n.lineno for n in ast.walk(tree) if opens_text_in_the_locales_encoding(n)]
    assert not wrong
