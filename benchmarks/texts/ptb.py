"""Penn Treebank, Mikolov's version (Mikolov et al. 2010; Marcus et al. 1993), words or characters.

The text has no open licence, so you must bring it: put ptb.train.txt, ptb.valid.txt and
ptb.test.txt in a folder and set PTB_DIR to it. `nas data prepare ptb` writes the text once as a
TensorFlow Datasets set (benchmarks/texts/ptb_builder.py). `load` reads that set, or the folder if
the set does not exist.

The characters are those of the same lines, with one space between words and one more character at
the end of each line. Both commands count every token and refuse a copy with a blank line, or with
another text.
"""

import os
from pathlib import Path

import numpy as np

from nas.benchmarks.texts.ptb_text import lines, tokens_of
from nas.core.trial import ConfigError
from nas.data.images import PARTS, Found
from nas.data.text import TextData, by_frequency, first_tokens, numbered

LEVELS = ("word", "character")
# The number of tokens of each part, one <eos> a line included, and of different tokens in train.
# Words: the numbers of the literature (Zaremba et al. 2014: 929k, 73k, 82k, 10k). Characters:
# counted from the same files.
TOKENS = {
    "word": {"train": 929_589, "valid": 73_760, "test": 82_430},
    "character": {"train": 5_017_482, "valid": 393_042, "test": 442_423},
}
VOCABULARY = {"word": 10_000, "character": 50}
NAME = "ptb_mikolov"  # of the TensorFlow Datasets set


def load(
    *,
    level: str = "word",
    data_dir: str | None = None,
    manual_dir: str | None = None,
    train_size: int | None = None,
) -> TextData:
    """Reads and counts the text; words are numbered by their frequency in train.

    Args:
        level: "word" or "character".
        data_dir: folder of prepared TFDS sets; None: TFDS_DATA_DIR, else ~/tensorflow_datasets.
        manual_dir: folder of the three files; None: PTB_DIR.
        train_size: keep only this many training tokens, the first ones; None keeps all. The
            vocabulary stays that of the whole text.

    Raises ConfigError if the text is missing or is not Mikolov's.
    """
    if level not in LEVELS:
        raise ConfigError(f"dataset.level must be one of {', '.join(LEVELS)}, got {level}")
    prepared = _prepared(data_dir)
    if prepared is not None:
        parts = _read_prepared(prepared)
    else:
        parts = {part: lines(_file(_folder(manual_dir), part)) for part in PARTS}
    tokens = {part: tokens_of(parts[part], level) for part in PARTS}
    words = by_frequency(tokens["train"])
    for part in PARTS:
        check_count(part, level, len(tokens[part]))
    if len(words) != VOCABULARY[level]:
        raise ConfigError(
            f"Penn Treebank must have {VOCABULARY[level]:,} different {level}s in train, got "
            f"{len(words):,}: bring Mikolov's own files to PTB_DIR"
        )
    numbers = {part: _numbers(part, tokens[part], words) for part in PARTS}
    return TextData(
        name="ptb" if level == "word" else "ptb_characters",
        train=first_tokens(numbers["train"], train_size),
        valid=numbers["valid"],
        test=numbers["test"],
        words=words,
        level=level,
    )


def look(
    *, level: str = "word", data_dir: str | None = None, manual_dir: str | None = None, **settings
) -> Found:
    """Finds the text without reading it. Needs neither TFDS nor TensorFlow."""
    prepared = _prepared(data_dir)
    contents = ", ".join(f"{n:,}" for n in TOKENS[level].values()) + f" {level}s"
    if prepared is not None:
        return Found(ready=True, place=str(prepared), contents=contents)
    try:
        folder = _folder(manual_dir)
        for part in PARTS:
            _file(folder, part)
    except ConfigError as error:
        place = manual_dir or os.environ.get("PTB_DIR") or "PTB_DIR"
        return Found(ready=False, place=place, hint=str(error))
    return Found(ready=True, place=str(folder), contents=contents)


def prepare(
    *, level: str = "word", data_dir: str | None = None, manual_dir: str | None = None, **settings
) -> None:
    """Writes the TFDS set from the files in the manual folder."""
    from nas.benchmarks.texts.ptb_builder import PtbMikolov

    folder = _folder(manual_dir)
    for part in PARTS:
        check_count(part, level, len(tokens_of(lines(_file(folder, part)), level)))
    try:
        PtbMikolov(data_dir=_data_dir(data_dir), text=folder).download_and_prepare()
    except OSError as error:
        raise ConfigError(
            f"ptb could not be written to {_data_dir(data_dir)}: {error}; set TFDS_DATA_DIR to a "
            "folder one can write to"
        ) from error


def check_count(part: str, level: str, count: int) -> None:
    """Raises ConfigError if a part of the text does not have as many tokens as Mikolov's."""
    if count != TOKENS[level][part]:
        raise ConfigError(
            f"ptb.{part}.txt must have {TOKENS[level][part]:,} {level}s with the end of each line, "
            f"got {count:,}: bring Mikolov's own files to PTB_DIR"
        )


def _numbers(part: str, tokens: list[str], words: tuple[str, ...]) -> np.ndarray:
    try:
        return numbered(tokens, words)
    except KeyError as error:
        raise ConfigError(
            f"ptb.{part}.txt must have words of ptb.train.txt, got {error.args[0]}: bring "
            "Mikolov's own files to PTB_DIR"
        ) from None


def _folder(manual_dir: str | None) -> Path:
    chosen = manual_dir or os.environ.get("PTB_DIR")
    if not chosen:
        raise ConfigError(
            "Penn Treebank must be brought by you, it has no open licence: put ptb.train.txt, "
            "ptb.valid.txt and ptb.test.txt (Mikolov's simple-examples) in a folder and set "
            "PTB_DIR or dataset.manual_dir to it"
        )
    return Path(chosen).expanduser()


def _file(folder: Path, part: str) -> Path:
    file = folder / f"ptb.{part}.txt"
    if not file.is_file():
        raise ConfigError(
            f"PTB_DIR={folder} must have ptb.train.txt, ptb.valid.txt and ptb.test.txt, got no "
            f"{file.name}"
        )
    return file


def _data_dir(data_dir: str | None) -> Path:
    """TFDS' own rule: the setting, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def _prepared(data_dir: str | None) -> Path | None:
    """The folder of the newest prepared version, which serves both levels; None: there is none."""
    versions = sorted((_data_dir(data_dir) / NAME).glob("*/dataset_info.json"))
    return versions[-1].parent if versions else None


def _read_prepared(place: Path) -> dict[str, list[str]]:
    """The lines of each part."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(place)
    parts = {}
    for part in PARTS:
        (row,) = tfds.as_numpy(builder.as_dataset(split=part))
        parts[part] = row["text"].decode().splitlines()
    return parts
