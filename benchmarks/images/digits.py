"""Digits: 1,797 real handwritten digits, 8x8 grey, which are part of scikit-learn (UCI, 1998).

Every small run uses this data set: there is nothing to download, and a network trains in seconds.
"""

import numpy as np

from nas.data.images import Found, ImageData, make_image_data

TEST_SIZE = 360  # images; fixed, because scikit-learn's copy has no test split


def load(*, valid_size: int | float = 287, train_size: int | None = None) -> ImageData:
    """Loads 1,797 images [8, 8, 1]: 360 test, 287 validation (a fifth of the rest), 1,150 train."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images * 15).astype(np.uint8)[..., None]  # 0 .. 16 ink -> 0 .. 240
    return make_image_data(
        "digits",
        images,
        bunch.target,
        class_names=tuple(str(name) for name in bunch.target_names),
        valid_size=valid_size,
        test_size=TEST_SIZE,
        train_size=train_size,
        split="hash",
    )


def look(**settings) -> Found:
    return Found(ready=True, place="inside scikit-learn", contents="1,797 of 8x8x1, 10 classes")
