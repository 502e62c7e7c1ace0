"""Files that `nas fit` reads: arrays, a folder of images, or a table of rows.

DATA.npz    x and y, or x_train and y_train; with x_valid and y_valid, x_test and y_test, or
            without (nas/data/npz.py)
FOLDER      class folders of images, or train/ and test/ with class folders
TABLE.csv   a line of column names, then rows; one column is the target (nas/fitting/tables.py)
"""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data import npz
from nas.data.image_folder import read_classes
from nas.fitting.tables import TableSettings, read_table


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """x and y as nas.fit takes them.

    read_as: one line on what was read as what. test, valid: x and y of that part. features: the
    columns of x.
    """

    x: np.ndarray
    y: np.ndarray
    read_as: str
    test: tuple[np.ndarray, np.ndarray] | None = None
    features: tuple[str, ...] = ()
    valid: tuple[np.ndarray, np.ndarray] | None = None


def read(path: Path, *, table: TableSettings | None = None, image_size: int = 32) -> Arrays:
    """Reads the file or the folder.

    table: how a table is read. image_size: of a folder's images.

    Raises ConfigError if there is no such data in it, or if they could be read in several ways.
    """
    if path.is_dir():
        return _folder(path, image_size)
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        found = read_table(path, table or TableSettings())
        return Arrays(found.x, found.y, found.read_as, features=found.features)
    if path.is_file() and (zipfile.is_zipfile(path) or path.suffix == ".npz"):
        return _arrays(path)
    raise ConfigError(f"DATA must be an .npz file, a folder or a .csv file that exists, got {path}")


def _arrays(path: Path) -> Arrays:
    names = npz.names(path, "DATA")
    arrays = npz.read(path, names, "DATA")

    def pair(names: npz.Pair | None) -> tuple[np.ndarray, np.ndarray] | None:
        return None if names is None else (arrays[names[0]], arrays[names[1]])

    x, y = (arrays[name] for name in names.train)
    left_out = f"; left out: {', '.join(names.left_out)}" if names.left_out else ""
    read_as = f"{path.name}: {', '.join(arrays)}{left_out}"
    return Arrays(x, y, read_as, pair(names.test), valid=pair(names.valid))


def _folder(path: Path, image_size: int) -> Arrays:
    found = read_classes(
        path, image_size=image_size, channels=3, setting="DATA", size_setting="--image-size"
    )
    texts = np.array(found.class_names, dtype=object)
    test = None if found.test is None else (found.test[0], texts[found.test[1]])
    return Arrays(found.images, texts[found.labels], f"{path}: {found.read_as}", test)
