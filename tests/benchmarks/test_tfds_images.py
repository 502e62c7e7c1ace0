"""Sets of TensorFlow Datasets: the real CIFAR-10, and tiny sets that TFDS itself prepares here."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from nas.benchmarks.images import tfds_images
from nas.core.trial import ConfigError
from nas.data.images import make_image_data
from tests.helpers.small_images import contents, equal, some

needs_cifar10 = pytest.mark.skipif(
    not tfds_images.look(name="cifar10").ready,
    reason="needs CIFAR-10 prepared by TFDS in TFDS_DATA_DIR",
)


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
