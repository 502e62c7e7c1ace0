"""Your own images as files, with a folder of .png or .jpg files for each class.

    mine/cat/1.png  mine/dog/7.jpg ...               a hash selects the test split
    mine/train/cat/1.png ...  mine/test/cat/2.png    the test split is yours

    nas search dataset=folder dataset.path=mine dataset.image_size=32

Every image is brought to one size. Other files and hidden files are ignored.
"""

from pathlib import Path

from nas.core.trial import ConfigError
from nas.data.image_folder import count, read_classes
from nas.data.images import Found, ImageData, make_image_data


def load(
    *,
    path: str | None = None,
    image_size: int = 32,
    channels: int = 3,
    valid_size: int | float = 0.1,
    test_size: int | float = 0.2,
    train_size: int | None = None,
    split: str = "balanced",
) -> ImageData:
    """Decodes every file to [image_size, image_size, channels], without keeping its proportions.

    Args:
        path: of the folder.
        image_size: both sides in pixels.
        channels: 3 for colour, 1 for grey.
        valid_size: number or share of validation images.
        test_size: the same for test images, if there is no test/; the images of test/ are used as
            they are.
        train_size: number of training images to keep; None keeps all.
        split: as in nas.make_image_data.
    """
    if channels not in (1, 3):
        raise ConfigError(f"dataset.channels must be 1 (grey) or 3 (colour), got {channels}")
    found = read_classes(path, image_size=image_size, channels=channels)
    name = Path(path or "").expanduser().resolve().name
    return make_image_data(
        name,
        found.images,
        found.labels,
        class_names=found.class_names,
        valid_size=valid_size,
        test=found.test,
        test_size=test_size,
        train_size=train_size,
        split=split,
        read_as=f"{name}: {found.read_as}",
    )


def look(*, path: str | None = None, **settings) -> Found:
    """Counts the files without opening one."""
    if path is None:
        return Found(ready=False, place="a folder of yours", hint="set dataset.path=FOLDER")
    try:
        files, classes = count(path)
    except ConfigError as error:
        return Found(ready=False, place=path, hint=str(error))
    return Found(ready=True, place=path, contents=f"{files:,} files, {classes} classes")
