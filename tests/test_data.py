"""Data sets: splits by hash, known sums of real data, and one clear line for each bad input."""

import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import arrays, digits, folder, tfds_images
from nas.data import ImageData, make_image_data, split_by_hash
from nas.trial import ConfigError

NAMES = ("a", "b")
needs_cifar10 = pytest.mark.skipif(
    not tfds_images.look(name="cifar10").ready,
    reason="needs CIFAR-10 prepared by TFDS in TFDS_DATA_DIR",
)


def some(n: int = 40, *, classes: int = 2, seed: int = 0, shape=(4, 5, 3)):
    """Images [n, *shape] uint8 and labels [n] that have every class."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [n, *shape], dtype=np.uint8), np.arange(n) % classes


def make(images, labels, **settings) -> ImageData:
    settings = {"class_names": NAMES, "valid_size": 5, "test_size": 10} | settings
    return make_image_data("some", images, labels, **settings)


def contents(data: ImageData, part: str) -> set[bytes]:
    return {image.tobytes() for image in getattr(data, f"{part}_images")}


def equal(a: ImageData, b: ImageData) -> bool:
    parts = [
        f"{part}_{what}" for part in ("train", "valid", "test") for what in ("images", "labels")
    ]
    same = all(np.array_equal(getattr(a, p), getattr(b, p)) for p in [*parts, "mean", "std"])
    return same and a.split == b.split


# ---- nas/data.py


def test_the_lowest_hashes_are_validation():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    ranked = sorted(range(6), key=lambda i: hashlib.blake2b(bytes([i]), digest_size=8).digest())
    train, valid = split_by_hash(images, np.zeros(6, int), 2)
    assert valid.tolist() == ranked[:2]
    assert train.tolist() == ranked[2:]


def test_the_order_of_the_file_changes_nothing():
    images, labels = some()
    images[7] = images[3]  # equal images with different labels too
    labels[7] = 1 - labels[3]
    shuffled = np.random.default_rng(1).permutation(40)
    assert equal(make(images, labels), make(images[shuffled], labels[shuffled]))
    test, test_shuffled = (images[:10], labels[:10]), (images[9::-1], labels[9::-1])
    assert equal(
        make(images[10:], labels[10:], test=test),
        make(images[10:], labels[10:], test=test_shuffled),
    )


def test_parts_do_not_overlap_and_lose_nothing():
    images, labels = some()
    data = make(images, labels)
    parts = [contents(data, part) for part in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [25, 5, 10]
    assert set.union(*parts) == {image.tobytes() for image in images}


def test_labels_stay_with_their_images():
    images, labels = some()
    by_content = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    data = make(images, labels)
    for part in ("train", "valid", "test"):
        pairs = zip(getattr(data, f"{part}_images"), getattr(data, f"{part}_labels"), strict=True)
        assert all(by_content[image.tobytes()] == label for image, label in pairs)


def test_train_size_keeps_the_first_and_leaves_validation_alone():
    images, labels = some()
    full, half = make(images, labels), make(images, labels, train_size=12)
    assert np.array_equal(half.train_images, full.train_images[:12])
    assert np.array_equal(half.valid_images, full.valid_images)
    assert half.split == full.split


def test_the_split_has_a_name_of_its_own():
    images, labels = some()
    names = {make(images, labels, valid_size=n).split for n in (4, 5, 6)}
    other = labels.copy()
    other[:] = 1 - labels
    names.add(make(images, other).split)
    assert len(names) == 4
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)


def test_sizes_may_be_shares():
    images, labels = some()
    data = make(images, labels, test_size=0.25, valid_size=0.2)  # 10 of 40, then 6 of 30
    assert (len(data.test_labels), len(data.valid_labels), len(data.train_labels)) == (10, 6, 24)


def test_mean_and_std_are_those_of_training_pixels():
    images, labels = some(2500)
    data = make(images, labels)
    scaled = data.train_images / 255
    np.testing.assert_allclose(data.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.std, scaled.std((0, 1, 2)), rtol=1e-6)
    assert data.mean.dtype == data.std.dtype == np.float32


def test_a_channel_that_never_changes_has_std_one():
    images, labels = some()
    images[..., 1] = 7
    assert make(images, labels).std[1] == 1


def test_types_are_those_promised():
    data = make(*some())
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == data.valid_labels.dtype == data.test_labels.dtype == np.int32
    assert data.image_shape == (4, 5, 3)
    assert data.classes == 2


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"valid_size": 0}, r"dataset.valid_size must be .* at least 1 image of the 30 .* got 0"),
        ({"valid_size": 30}, r"dataset.valid_size must be .* not all, got 30"),
        ({"valid_size": 1.0}, r"dataset.valid_size must be .* got 1.0"),
        ({"valid_size": -0.1}, r"dataset.valid_size must be .* got -0.1"),
        ({"valid_size": float("nan")}, r"dataset.valid_size must be .* got nan"),
        ({"valid_size": "many"}, r"dataset.valid_size must be a number .* got many"),
        ({"valid_size": True}, r"dataset.valid_size must be a number .* got True"),
        ({"test_size": None}, r"dataset.test_size must be a number .* got None"),
        ({"train_size": 26}, r"dataset.train_size must be null .* int in \[1, 25\].* got 26"),
        ({"train_size": 0}, r"dataset.train_size must be .* got 0"),
        ({"train_size": 0.5}, r"dataset.train_size must be .* got 0.5"),
        ({"class_names": ("a",)}, r"labels must be in \[0, 0\] for 1 classes, got 0 to 1"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(*some(), **settings)


def test_wrong_arrays_are_named():
    images, labels = some()
    with pytest.raises(ConfigError, match=r"images must be uint8 .* got float64 \[40, 4, 5, 3\]"):
        make(images / 255, labels)
    with pytest.raises(ConfigError, match=r"images must be .* not empty, got uint8 \[0, 4, 5, 3\]"):
        make(images[:0], labels[:0])
    with pytest.raises(ConfigError, match=r"labels must be integers \[40\], .* got int64 \[39\]"):
        make(images, labels[:39])
    with pytest.raises(ConfigError, match=r"labels must be integers .* got float64"):
        make(images, labels / 2)
    with pytest.raises(ConfigError, match=r"labels must be in \[0, 1\] .* got -1 to 1"):
        make(images, np.where(labels == 0, -1, labels))
    with pytest.raises(ConfigError, match=r"test part: labels must be in \[0, 1\] .* got 0 to 2"):
        make(images, labels, test=some(6, classes=3))
    with pytest.raises(ConfigError, match=r"test images must be \[4, 5, 3\] .* got \[5, 5, 3\]"):
        make(images, labels, test=some(6, shape=(5, 5, 3)))
    with pytest.raises(ConfigError, match="at least 2 classes"):
        make(images, labels * 0, class_names=("a",))


# ---- digits


def test_digits_are_the_1797_of_scikit_learn():
    data = digits.load()
    assert (len(data.train_labels), len(data.valid_labels), len(data.test_labels)) == (
        1150,
        287,
        360,
    )
    assert data.image_shape == (8, 8, 1)
    assert data.classes == 10
    every = np.concatenate([data.train_images, data.valid_images, data.test_images])
    assert every.sum() == 15 * 561718  # scikit-learn's sum of ink
    assert every.max() == 240
    assert not contents(data, "valid") & contents(data, "test")
    assert data.split == "7661e47c5281c6c5"  # changes only where validation changes
    assert equal(data, digits.load())


def test_the_test_split_of_digits_is_fixed():
    small = digits.load(valid_size=100, train_size=50)
    assert np.array_equal(small.test_images, digits.load().test_images)
    assert len(small.train_labels) == 50


# ---- TensorFlow Datasets


@pytest.mark.data
@needs_cifar10
def test_cifar10_is_the_real_one():
    data = tfds_images.load(name="cifar10", valid_size=5000)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (45_000, 5_000, 10_000)
    assert data.image_shape == (32, 32, 3)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    labels = np.concatenate([data.train_labels, data.valid_labels])
    assert np.bincount(labels).tolist() == [5000] * 10
    # The usual constants of the 50,000 training images; here of 45,000 of them.
    np.testing.assert_allclose(data.mean, [0.4914, 0.4822, 0.4465], atol=5e-4)
    np.testing.assert_allclose(data.std, [0.2470, 0.2435, 0.2616], atol=5e-4)
    assert data.split == "86f091d939dade5d"  # changes only where validation changes
    assert not contents(data, "valid") & contents(data, "train")
    assert not contents(data, "valid") & contents(data, "test")


def test_data_not_prepared_name_the_command_and_the_folder(tmp_path, monkeypatch):
    message = rf"got nothing in {tmp_path}/cifar10/3.0.2; run `nas data prepare cifar10 --data-dir"
    with pytest.raises(ConfigError, match=message):
        tfds_images.load(name="cifar10", data_dir=str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"{tmp_path}/.*run `nas data prepare cifar10`"):
        tfds_images.load(name="cifar10")
    assert not list(tmp_path.iterdir())  # looking writes nothing


def test_a_wrong_tfds_name_is_named(tmp_path):
    for name in ("no_such_set", "mnist/no_such_config"):
        with pytest.raises(ConfigError, match=f"dataset.name must be a set .* got {name}"):
            tfds_images.load(name=name, data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="dataset.name must be .* got None; set dataset.name="):
        tfds_images.load()


@pytest.fixture(scope="module")
def tiny_tfds(tmp_path_factory) -> str:
    """A TFDS folder with sets of our own, prepared by TFDS itself."""
    import tensorflow_datasets as tfds

    def png(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    class Tiny(tfds.core.GeneratorBasedBuilder):
        """60 + 20 images [6, 6, 3] of 3 classes."""

        VERSION = tfds.core.Version("1.0.0")
        splits, shape = {"train": 60, "test": 20}, (6, 6, 3)
        keys: tuple[str, str] | None = ("image", "label")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=self.shape),
                "label": tfds.features.ClassLabel(names=["x", "y", "z"]),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=self.keys,
            )

        def _split_generators(self, dl_manager):
            return {split: self._examples(split) for split in self.splits}

        def _examples(self, split):
            images, labels = some(self.splits[split], classes=3, seed=len(split), shape=(6, 6, 3))
            for i, image in enumerate(images):
                size = 6 if self.shape[0] else 4 + i % 4
                image = np.asarray(Image.fromarray(image).resize((size, size)))
                yield i, {"image": io.BytesIO(png(image)), "label": int(labels[i])}

        def _generate_examples(self):
            raise NotImplementedError

    class TinyWhole(Tiny):
        """No test split, images of several sizes."""

        splits, shape = {"train": 60}, (None, None, 3)

    class TinyUnlabelled(Tiny):
        """Names no label."""

        keys = None

    root = str(tmp_path_factory.mktemp("tfds"))
    for name in ("tiny", "tiny_whole", "tiny_unlabelled"):
        tfds_images.prepare(name=name, data_dir=root)
    return root


def test_a_tfds_set_has_its_own_test_split(tiny_tfds):
    data = tfds_images.load(name="tiny", data_dir=tiny_tfds)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (54, 6, 20)
    assert data.name == "tiny"
    assert data.class_names == ("x", "y", "z")
    images, labels = some(20, classes=3, seed=4, shape=(6, 6, 3))  # PNG loses nothing
    expected = make_image_data(
        "tiny", images, labels, class_names=("x", "y", "z"), valid_size=1, test=(images, labels)
    )
    assert np.array_equal(data.test_images, expected.test_images)
    assert np.array_equal(data.test_labels, expected.test_labels)
    assert equal(data, tfds_images.load(name="tiny", data_dir=tiny_tfds))


def test_a_tfds_set_without_a_test_split_has_one_carved(tiny_tfds):
    data = tfds_images.load(name="tiny_whole", data_dir=tiny_tfds, image_size=5, test_size=10)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (45, 5, 10)
    assert data.image_shape == (5, 5, 3)
    with pytest.raises(ConfigError, match="dataset.image_size must be a number .* got None"):
        tfds_images.load(name="tiny_whole", data_dir=tiny_tfds)


def test_a_tfds_set_without_labels_is_refused(tiny_tfds):
    with pytest.raises(ConfigError, match="must be an image classification set, got tiny_unlab"):
        tfds_images.load(name="tiny_unlabelled", data_dir=tiny_tfds)


def test_damaged_records_are_told(tiny_tfds, tmp_path):
    shutil.copytree(tiny_tfds, tmp_path, dirs_exist_ok=True)
    records = next(tmp_path.glob("tiny/1.0.0/*train*"))
    records.write_bytes(records.read_bytes()[:-5])
    with pytest.raises(ConfigError, match="train records of tiny in .* cannot be read"):
        tfds_images.load(name="tiny", data_dir=str(tmp_path))


def test_look_reads_what_tfds_wrote(tiny_tfds):
    found = tfds_images.look(name="tiny", data_dir=tiny_tfds)
    assert found.ready
    assert found.place == os.path.join(tiny_tfds, "tiny", "1.0.0")
    assert found.contents == "60 train + 20 test of 6x6x3, 3 classes"
    assert "tiny, tiny_unlabelled, tiny_whole" in tfds_images.look(data_dir=tiny_tfds).contents
    assert not tfds_images.look(name="mnist", data_dir=tiny_tfds).ready


# ---- a file of arrays


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


# ---- a folder of images


def draw(
    root: Path, *, per_class: int = 10, size=(7, 9), seed: int = 0, names=("cat", "dog")
) -> str:
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 256, [size[0] + i % 3, size[1], 3], dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.{('png', 'jpg', 'JPEG')[i % 3]}")
    return str(root)


def test_a_folder_of_classes_is_read_and_resized(tmp_path):
    path = draw(tmp_path / "mine")
    (tmp_path / "mine" / "cat" / "notes.txt").write_text("left alone")
    (tmp_path / "mine" / ".hidden").mkdir()
    data = folder.load(path=path, image_size=8, test_size=4, valid_size=3)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (13, 3, 4)
    assert data.name == "mine"
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (8, 8, 3)
    assert folder.load(path=path, image_size=8, channels=1).image_shape == (8, 8, 1)
    assert equal(data, folder.load(path=path, image_size=8, test_size=4, valid_size=3))
    assert folder.look(path=path).contents == "20 files, 2 classes"


def test_images_of_the_right_size_keep_every_pixel(tmp_path):
    (images, labels), names = some(shape=(8, 8, 3)), ("a", "b")
    for i, image in enumerate(images):
        (tmp_path / names[labels[i]]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / names[labels[i]] / f"{i}.png")
    data = folder.load(path=str(tmp_path), image_size=8)
    assert equal(data, make(images, labels, valid_size=0.1, test_size=0.2))


def test_a_folder_may_have_its_own_test_split(tmp_path):
    draw(tmp_path / "train")
    draw(tmp_path / "test", per_class=3, seed=1)
    data = folder.load(path=str(tmp_path), image_size=8)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (18, 2, 6)
    assert data.name == tmp_path.name


def test_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(ConfigError, match="dataset.path must be a folder that exists, got None"):
        folder.load()
    with pytest.raises(ConfigError, match="folder that exists, got .*gone; set dataset.path"):
        folder.load(path=str(tmp_path / "gone"))
    path = draw(tmp_path / "mine")
    with pytest.raises(ConfigError, match="dataset.image_size must be an int .* got 0"):
        folder.load(path=path, image_size=0)
    with pytest.raises(ConfigError, match=r"dataset.channels must be 1 .* got 4"):
        folder.load(path=path, channels=4)
    (tmp_path / "mine" / "empty").mkdir()
    with pytest.raises(
        ConfigError, match="at least one .png, .jpg, .jpeg file, got none in .*empty"
    ):
        folder.load(path=path)
    assert "empty" in folder.look(path=path).hint
    with pytest.raises(ConfigError, match="at least 2 classes, got \\['cat'\\]"):
        folder.load(path=draw(tmp_path / "single", names=("cat",)))


def test_wrong_parts_of_a_folder_are_told(tmp_path):
    draw(tmp_path / "a" / "test")
    with pytest.raises(ConfigError, match=r"train/ and perhaps test/ .* got \['test'\]"):
        folder.load(path=str(tmp_path / "a"))
    draw(tmp_path / "b" / "train")
    draw(tmp_path / "b" / "val")
    with pytest.raises(ConfigError, match=r"and nothing else, got \['train', 'val'\]"):
        folder.load(path=str(tmp_path / "b"))
    draw(tmp_path / "c" / "train")
    draw(tmp_path / "c" / "test", names=("cat", "cow"))
    with pytest.raises(ConfigError, match=r"must have the classes of .* got also \['cow'\]"):
        folder.load(path=str(tmp_path / "c"))


def test_a_damaged_image_is_named(tmp_path):
    path = draw(tmp_path / "mine")
    whole = (tmp_path / "mine" / "cat" / "0.png").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "mine" / "dog" / "0.png").write_bytes(content)
        with pytest.raises(ConfigError, match="dog/0.png must be an image that can be read"):
            folder.load(path=path)
    Image.fromarray(np.zeros([4, 4], np.uint16)).save(tmp_path / "mine" / "dog" / "0.png")
    with pytest.raises(ConfigError, match="8 bits a channel, got I;16 in .*dog/0.png"):
        folder.load(path=path)
