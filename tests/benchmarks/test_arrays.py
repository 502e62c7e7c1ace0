"""A file of arrays: what is read, and one clear line for each thing wrong with it."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas.benchmarks.images import arrays
from nas.core.trial import ConfigError
from nas.run.old_configs import modernised
from tests.helpers.cli import QUICK, nas
from tests.helpers.small_images import contents, equal, some


def save(path: Path, **values) -> str:
    np.savez(path, **values)
    return str(path)


def test_an_npz_with_x_and_y_has_its_test_split_carved(tmp_path):
    images, labels = some()
    path = save(tmp_path / "mine.npz", x=images, y=labels)
    data = arrays.load(path=path)  # 0.2 of 40 test, 0.1 of 32 valid
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (29, 3, 8)
    assert data.name == "mine"
    assert data.class_names == ("0", "1")
    assert arrays.look(path=path).contents == "arrays x, y"


def test_an_npz_may_have_its_own_test_split(tmp_path):
    (images, labels), (test_images, test_labels) = some(), some(12, seed=1)
    path = save(
        tmp_path / "mine.npz",
        x_train=images,
        y_train=labels[:, None],
        x_test=test_images,
        y_test=test_labels,
        other=np.zeros(3),
    )
    data = arrays.load(path=path, valid_size=4)
    assert contents(data, "test") == {image.tobytes() for image in test_images}
    assert len(data.train_labels) == 36


def test_floats_and_grey_images_become_bytes(tmp_path):
    images, labels = some(shape=(4, 4))
    expected = arrays.load(path=save(tmp_path / "a.npz", x=images, y=labels))
    assert expected.image_shape == (4, 4, 1)
    for other in (
        images / 255,
        (images / 255).astype(np.float32),
        images * 1.0,
        images.astype(int),
    ):
        assert equal(arrays.load(path=save(tmp_path / "b.npz", x=other, y=labels)), expected)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: {"x": x}, r"must have x and y both; .* has x$"),
        (lambda x, y: {"x_train": x, "y_train": y}, r"x_train, y_train, x_test .* no test images$"),
        (lambda x, y: {"x": x, "y": y, "x_test": x}, r"must have x_test and y_test both"),
        (
            lambda x, y: {"x": x, "y": y, "x_train": x, "y_train": y},
            r"must have either x and y, or x_train and y_train; .* has both",
        ),
        (lambda x, y: {"x": x, "y": y, "X_val": x}, r"has also X_val; rename what is meant"),
        (lambda x, y: {}, r".npz has none$"),
        (lambda x, y: {"x": x / 255 * 2 - 1, "y": y}, r"x must be in \[0, 255\], or .* got -1"),
        (lambda x, y: {"x": x * 2.0, "y": y}, r"x must be in \[0, 255\], or .* to 510"),
        (lambda x, y: {"x": x.astype(int) * 257, "y": y}, r"x must be in \[0, 255\]"),
        (lambda x, y: {"x": np.where(x > 9, np.nan, x), "y": y}, r"x must be in .* got nan"),
        (lambda x, y: {"x": x.astype(complex), "y": y}, r"x must be whole .* got complex128"),
        (
            lambda x, y: {"x": x.ravel(), "y": y},
            r"x must be \[n, height, width\] or .* got \[2400\]",
        ),
        (lambda x, y: {"x": np.zeros((9, 3, 32, 32)), "y": y}, r"1 to 4 channels, got \[9, 3, 32"),
        (lambda x, y: {"x": x, "y": y[:30]}, r"labels must be integers \[40\], .* \[30\]"),
        (lambda x, y: {"x": x, "y": np.eye(2)[y]}, r"y must be \[n\] whole .* one-hot"),
        (lambda x, y: {"x": x, "y": y * 1.0}, r"y must be \[n\] whole numbers.* got float64"),
        (lambda x, y: {"x": x, "y": y - 1}, r"y must be class numbers from 0, got -1"),
        (lambda x, y: {"x": x, "y": y + 1}, r"y must number the classes 0, 1, 2 .* got 1, 2$"),
        (lambda x, y: {"x": x, "y": y * 0}, r"at least 2 classes"),
        (
            lambda x, y: {"x": x.astype(object), "y": y},
            r"must hold plain arrays, x .*pickle",
        ),
        (
            lambda x, y: {"x_train": x, "y_train": y, "x_test": x, "y_test": y + 1},
            r"test part: labels must be in \[0, 1\]",
        ),
    ],
)
def test_a_wrong_npz_is_told_in_one_line(tmp_path, change, message):
    path = save(tmp_path / "mine.npz", **change(*some()))
    with pytest.raises(ConfigError, match=message) as caught:
        arrays.load(path=path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_npz_is_told(tmp_path):
    with pytest.raises(
        ConfigError, match="dataset.path must be an .npz file that exists, got None"
    ):
        arrays.load()
    with pytest.raises(ConfigError, match="file that exists, got .*gone.npz; set dataset.path="):
        arrays.load(path=str(tmp_path / "gone.npz"))
    for content in (b"", b"text", b"PK\x03\x04 torn"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ConfigError, match="must be an .npz file, as np.savez.* got .*bad.npz"):
            arrays.load(path=str(tmp_path / "bad.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ConfigError, match="must be an .npz file, as np.savez"):
        arrays.load(path=str(tmp_path / "one.npy"))
    assert not arrays.look(path=str(tmp_path / "one.npy")).ready
    assert "dataset.path" in arrays.look().hint


def test_a_damaged_array_is_told(tmp_path):
    images, labels = some(200)
    path = tmp_path / "mine.npz"
    for write in (np.savez, np.savez_compressed):
        write(path, x=images, y=labels)
        damaged = bytearray(path.read_bytes())
        damaged[2000:2100] = bytes(100)
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="plain arrays, x of .* damaged"):
            arrays.load(path=str(path))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"no array")
        file.writestr("y", b"no array")
    with pytest.raises(ConfigError, match=r"plain arrays, x of .* cannot be read"):
        arrays.load(path=str(path))


def test_a_header_is_not_believed(tmp_path):
    """An array that claims more bytes than the file holds is refused before it is allocated."""
    images, labels = some()
    path = save(tmp_path / "mine.npz", x=images, y=labels)
    huge = io.BytesIO()
    np.save(huge, images)
    claimed = huge.getvalue().replace(b"(40, 4, 5, 3)", b"(99999999999,)")
    with zipfile.ZipFile(path) as file:
        other = file.read("y.npy")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", claimed)
        file.writestr("y.npy", other)
    with pytest.raises(ConfigError, match=r"damaged: it says \[99999999999\] and has"):
        arrays.load(path=path)


@pytest.mark.parametrize("high", [1.001, 2.0, 100.5])
def test_a_range_that_is_open_is_refused_and_can_be_said(tmp_path, high):
    images, labels = some(shape=(4, 4))
    pixels = images / 255
    pixels[0, 0, 0] = high
    path = save(tmp_path / "mine.npz", x=pixels, y=labels)
    with pytest.raises(ConfigError, match=rf"cannot be told from x 0.0 to {high}; set dataset.pix"):
        arrays.load(path=path)
    as_bytes = arrays.load(path=path, pixel_max=255, test_size=10, valid_size=5)
    assert max(part.max() for part in (as_bytes.train_images, as_bytes.test_images)) <= round(high)
    if high == 1.001:
        path = save(tmp_path / "other.npz", x=np.minimum(pixels, 1), y=labels)
        assert equal(
            arrays.load(path=str(tmp_path / "mine.npz"), pixel_max=1), arrays.load(path=path)
        )
    else:
        with pytest.raises(ConfigError, match=r"x must be in \[0, 1\], got 0.0 to"):
            arrays.load(path=path, pixel_max=1)


def test_the_range_is_that_of_all_parts(tmp_path):
    images, labels = some(shape=(4, 4))
    dark = np.minimum(images, 1) * 1.0  # whole numbers up to 1: white, or almost black?
    for test in (images, images * 1.0, images / 2):
        path = save(tmp_path / "a.npz", x_train=dark, y_train=labels, x_test=test, y_test=labels)
        with pytest.raises(ConfigError, match="in \\[0, 1\\] or all in \\[0, 255\\]"):
            arrays.load(path=path)
    data = arrays.load(path=path, pixel_max=255)
    assert data.train_images.max() == 1 and data.test_images.max() > 100
    with pytest.raises(ConfigError, match="dataset.pixel_max must be null, 1 or 255, got 2"):
        arrays.load(path=path, pixel_max=2)


def test_it_says_what_it_read(tmp_path):
    images, labels = some(shape=(4, 4))
    path = save(tmp_path / "mine.npz", x=images / 255, y=labels, names=np.zeros(2))
    assert arrays.load(path=path).read_as == (
        "mine.npz: 40 images of 4x4x1 (float64, 0 to 1), 2 classes (0 20, 1 20), left out: names: "
        "29 train, 3 validate, 8 test"
    )


def test_a_validation_part_of_its_own_is_used(tmp_path):
    (images, labels), (valid, valid_labels) = some(), some(6, seed=1)
    path = save(tmp_path / "m.npz", x=images, y=labels, x_valid=valid, y_valid=valid_labels)
    data = arrays.load(path=path)
    assert contents(data, "valid") == {image.tobytes() for image in valid}
    assert len(data.train_labels) == 32 and len(data.test_labels) == 8
    assert arrays.look(path=path).contents == "arrays x, y, x_valid, y_valid"


def test_equal_images_stay_together_and_an_old_run_keeps_its_split(tmp_path):
    (images, _), labels = some(8), np.repeat(np.arange(8) % 2, 5)
    path = save(tmp_path / "m.npz", x=np.repeat(images, 5, axis=0), y=labels)
    parts = ("train", "valid", "test")
    data = arrays.load(path=path, test_size=10, valid_size=10)
    seen = [contents(data, part) for part in parts]
    assert [len(part) for part in seen] == [4, 2, 2] and len(set.union(*seen)) == 8
    old = modernised({"_target_": "benchmarks.arrays.load", "path": path})
    assert old["split"] == "hash"
    by_hash = arrays.load(path=path, split="hash", test_size=10, valid_size=10)
    assert [len(contents(by_hash, part)) for part in parts] == [4, 2, 2]
    with pytest.raises(ConfigError, match="dataset.split must be one of balanced, hash, got no"):
        arrays.load(path=path, split="no")


def test_a_search_says_first_what_it_read(tmp_path):
    images, labels = some(shape=(8, 8))
    path = save(tmp_path / "mine.npz", x=images, y=labels)
    said = nas(
        "search", *QUICK, "dataset=npz", f"dataset.path={path}", "max_trials=1", "retrain=none",
        f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert said.status == 0, said
    assert "read mine.npz: 40 images of 8x8x1 (uint8, 0 to 255), 2 classes" in said.out
    assert said.out.index("read mine.npz") < said.out.index("trial    0")
