"""Any image classification set of TensorFlow Datasets: CIFAR-10, Fashion-MNIST, a hundred more.

`load` reads what TFDS has prepared and never downloads; `nas data prepare NAME` downloads. If the
set has no official test split, a part of train becomes the test split. Other splits are ignored.
"""

import json
import os
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import Found, ImageData, make_image_data


def load(
    *,
    name: str | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
    valid_size: int | float = 0.1,
    test_size: int | float = 0.2,
    train_size: int | None = None,
) -> ImageData:
    """Reads and decodes the whole set into memory, in about 60 microseconds per CIFAR-10 image.

    Args:
        name: the set's name in TFDS, with its configuration if it has several: "emnist/letters".
        data_dir: folder of prepared sets; None: TFDS_DATA_DIR, else ~/tensorflow_datasets.
        image_size: images are resized to [image_size, image_size] pixels; None keeps their size.
        valid_size: number or share of validation images.
        test_size: the same for test images, if the set has no test split.
        train_size: number of training images to keep; None keeps all.

    Raises ConfigError for a set that is not prepared, or is not one of image classification.
    """
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        raise ConfigError(
            f"dataset.name={name} must be prepared, got nothing in {builder.data_dir}; "
            f"run `{_command(name, data_dir)}` or set TFDS_DATA_DIR or dataset.data_dir"
        )
    images, labels = _read(builder, "train", image_size)
    test = _read(builder, "test", image_size) if "test" in builder.info.splits else None
    return make_image_data(
        builder.info.name if "/" not in str(name) else str(name),
        images,
        labels,
        class_names=tuple(builder.info.features[_keys(builder)[1]].names),
        valid_size=valid_size,
        test=test,
        test_size=test_size,
        train_size=train_size,
        split="hash",
    )


def look(*, name: str | None = None, data_dir: str | None = None, **settings) -> Found:
    """Reads the JSON files that TFDS writes beside the images; it needs neither TFDS nor TF."""
    root = _data_dir(data_dir)
    if name is None:
        prepared = sorted(
            path.name for path in root.glob("*/") if list(path.rglob("features.json"))
        )
        return Found(
            ready=False,
            place=str(root),
            contents=f"prepared there: {', '.join(prepared) or 'none'}",
            hint="nas data prepare NAME, then set dataset.name=NAME",
        )
    place = root / name.split(":")[0]
    versions = sorted(path.parent for path in place.glob("*/dataset_info.json"))
    if not versions:
        return Found(ready=False, place=str(place), hint=_command(name, data_dir))
    return Found(ready=True, place=str(versions[-1]), contents=_contents(versions[-1]))


def prepare(*, name: str | None = None, data_dir: str | None = None, **settings) -> None:
    """Downloads the set and writes it where `load` looks. Returns at once if it is there."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    manual = _data_dir(data_dir) / "downloads" / "manual"
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not builder.info.splits and instructions and not list(manual.glob("*")):
        raise ConfigError(
            f"{name} cannot be downloaded for you: bring its files to {manual} yourself. "
            f"TFDS says: {' '.join(instructions.split())}"
        )
    wrong_file = tfds.core.download.download_manager.NonMatchingChecksumError
    try:
        builder.download_and_prepare()
    except (OSError, tf.errors.OpError, tfds.download.DownloadError, wrong_file) as error:
        raise ConfigError(
            f"{name} could not be written to {builder.data_dir}: "
            f"{' '.join(str(error).split())[:300]}; mend that and run the command again, or copy "
            f"a folder that TFDS has prepared elsewhere"
        ) from error


def _data_dir(data_dir: str | None) -> Path:
    """TFDS' own rule: the setting, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def _command(name: str | None, data_dir: str | None) -> str:
    return f"nas data prepare {name}" + (f" --data-dir {data_dir}" if data_dir else "")


def _builder(name: str | None, data_dir: str | None):
    """A TFDS builder, without a download: its info is empty if the set is not prepared."""
    import tensorflow_datasets as tfds  # here, because the import takes a second

    if not name:
        raise ConfigError(
            f"dataset.name must be an image classification set of TensorFlow Datasets, got {name}; "
            f"set dataset.name=fashion_mnist, say"
        )
    try:
        return tfds.builder(name, data_dir=_data_dir(data_dir))
    except (ValueError, tfds.core.DatasetNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"dataset.name must be a set of TensorFlow Datasets, got {name}: {reason}"
        ) from error


def _keys(builder) -> tuple[str, str]:
    """The names of the image and of the label."""
    import tensorflow_datasets as tfds

    keys, features = builder.info.supervised_keys, builder.info.features
    if (
        keys is None
        or not isinstance(features[keys[0]], tfds.features.Image)
        or not isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        raise ConfigError(
            f"dataset.name must be an image classification set, got {builder.name}, whose "
            f"features are {', '.join(features)} and whose (input, target) is {keys}"
        )
    return keys[0], keys[1]


def _read(builder, split: str, image_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The images [n, height, width, channels] uint8 and labels [n] int64 of one split."""
    import tensorflow as tf

    image_key, label_key = _keys(builder)
    *size, channels = builder.info.features[image_key].shape
    if image_size is None and None in size:
        raise ConfigError(
            f"dataset.image_size must be a number of pixels, as the images of {builder.name} "
            f"differ in size, got {image_size}; set dataset.image_size=32, say"
        )
    shape = [*(size if image_size is None else [image_size, image_size]), channels or 3]
    count = builder.info.splits[split].num_examples
    images, labels = np.empty([count, *shape], np.uint8), np.empty([count], np.int64)
    read = 0
    try:
        for batch_images, batch_labels in _batches(builder, split, shape):
            here = slice(read, read + len(batch_labels))
            images[here], labels[here] = batch_images, batch_labels
            read = here.stop
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, ValueError) as error:
        raise ConfigError(
            f"the {split} records of {builder.name} in {builder.data_dir} cannot be read after "
            f"{read} images: {str(error).splitlines()[0]}; delete that folder and prepare it again"
        ) from error
    return images, labels


def _batches(builder, split: str, shape: list[int]):
    """Numpy batches of images, decoded and brought to `shape`, and labels.

    It reads the records in batches, in half the time of `builder.as_dataset`, which parses them one
    by one. Their order does not matter (nas/data/images.py), so files are read in parallel.
    """
    import tensorflow as tf

    image_key, label_key = _keys(builder)
    stored = builder.info.features[image_key].shape
    record = {
        image_key: tf.io.FixedLenFeature([], tf.string),
        label_key: tf.io.FixedLenFeature([], tf.int64),
    }

    def decode(encoded):
        image = tf.io.decode_image(encoded, shape[-1], expand_animations=False)
        if shape[:2] != list(stored[:2]):
            resized = tf.image.resize(image, shape[:2], antialias=True)
            image = tf.saturate_cast(tf.round(resized), tf.uint8)
        return image

    def parse(records):
        batch = tf.io.parse_example(records, record)
        spec = tf.TensorSpec(shape, tf.uint8)
        return tf.map_fn(decode, batch[image_key], fn_output_signature=spec), batch[label_key]

    files = tf.data.TFRecordDataset(builder.info.splits[split].filepaths, num_parallel_reads=2)
    return files.batch(512).map(parse, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()


def _contents(version: Path) -> str:
    """A description of a prepared set: "50,000 train + 10,000 test of 32x32x3, 10 classes"."""
    info = json.loads((version / "dataset_info.json").read_text(encoding="utf-8"))
    features = json.loads((version / "features.json").read_text(encoding="utf-8"))["featuresDict"][
        "features"
    ]
    counts = {s["name"]: sum(int(n) for n in s["shardLengths"]) for s in info["splits"]}
    text = " + ".join(f"{count:,} {split}" for split, count in counts.items())
    for feature in features.values():
        if "image" in feature:
            size = feature["image"]["shape"]["dimensions"]
            text += " of " + "x".join("?" if n == "-1" else n for n in size)
    for feature in features.values():
        if "classLabel" in feature:
            text += f", {feature['classLabel']['numClasses']} classes"
    return text
