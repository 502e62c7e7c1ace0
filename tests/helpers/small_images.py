"""Small made-up images, and what tests of data sets ask about ImageData."""

import numpy as np

from nas.data.images import ImageData, make_image_data

NAMES = ("a", "b")


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
