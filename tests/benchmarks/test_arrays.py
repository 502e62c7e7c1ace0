"""A file of arrays: what is read, and one clear line for each thing wrong with it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas.benchmarks.images import arrays
from nas.core.trial import ConfigError
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
        (lambda x, y: {"x": x}, r"must have the arrays x, y, or x_train.* has x$"),
        (lambda x, y: {"x_train": x, "y_train": y}, r".npz has x_train, y_train$"),
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
            r"must hold plain numbers, array x .*pickle",
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
        with pytest.raises(ConfigError, match="array x of .* cannot be read"):
            arrays.load(path=str(path))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"no array")
        file.writestr("y", b"no array")
    with pytest.raises(ConfigError, match=r"x must be \[n, height, width\]"):
        arrays.load(path=str(path))
