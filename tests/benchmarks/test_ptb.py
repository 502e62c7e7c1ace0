"""Penn Treebank: the published counts on the real text, the same checks on small copies."""

import os

import numpy as np
import pytest

from nas.benchmarks.texts import ptb
from nas.core.trial import ConfigError
from nas.data.text import TextData, by_frequency, first_tokens, numbered

needs_ptb = pytest.mark.skipif(
    "PTB_DIR" not in os.environ, reason="needs Mikolov's Penn Treebank in PTB_DIR"
)
TEXT = {"train": "the cat sat\n the dog sat \n", "valid": "the cat\n", "test": "the dog sat\n"}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A text of nine tokens that passes for the whole; no prepared set anywhere."""
    monkeypatch.setenv("PTB_DIR", str(tmp_path / "text"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setitem(ptb.TOKENS, "word", {"train": 8, "valid": 3, "test": 4})
    monkeypatch.setitem(ptb.TOKENS, "character", {"train": 24, "valid": 8, "test": 12})
    monkeypatch.setattr(ptb, "VOCABULARY", {"word": 5, "character": 11})
    (tmp_path / "text").mkdir()
    for part, text in TEXT.items():
        (tmp_path / "text" / f"ptb.{part}.txt").write_text(text)
    return tmp_path


@pytest.mark.data
@needs_ptb
@pytest.mark.parametrize("level", ptb.LEVELS)
def test_the_real_text_has_the_published_counts(level, tmp_path):
    data = ptb.load(level=level, data_dir=str(tmp_path))
    sizes = {part: len(getattr(data, part)) for part in ("train", "valid", "test")}
    assert sizes == ptb.TOKENS[level]
    assert data.vocabulary == ptb.VOCABULARY[level]
    if level == "word":
        assert data.words[:4] == ("the", "<unk>", "<eos>", "N")
        first = [data.words[i] for i in data.train[:3]]
        assert first == ["aer", "banknote", "berlitz"]
        assert np.sum(data.test == 2) == 3_761 and np.sum(data.valid == 2) == 3_370


def test_words_are_numbered_by_frequency_then_alphabet(small):
    data = ptb.load()
    # In train: sat, the and <eos> twice, cat and dog once.
    assert data.words == ("<eos>", "sat", "the", "cat", "dog")
    assert data.train.tolist() == [2, 3, 1, 0, 2, 4, 1, 0]
    assert data.test.tolist() == [2, 4, 1, 0]
    assert data.train.dtype == np.int32
    assert ptb.load(train_size=3).train.tolist() == [2, 3, 1]
    assert ptb.load(train_size=3).words == data.words


def test_characters_are_the_lines_own(small):
    data = ptb.load(level="character")
    assert "".join(data.words[i] for i in data.train) == "the cat sat\nthe dog sat\n"
    assert data.name == "ptb_characters"


def test_a_prepared_set_is_the_same_text_without_the_folder(small, monkeypatch):
    before = ptb.load()
    ptb.prepare()
    monkeypatch.delenv("PTB_DIR")
    assert "ptb_mikolov/1.0.0" in ptb.look().place
    after = ptb.load()
    assert after.words == before.words
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(after, part), getattr(before, part))


def test_the_blank_line_of_some_copies_is_named(small):
    with (small / "text" / "ptb.train.txt").open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigError, match="train.txt must have no blank line, got one, line 3"):
        ptb.load()


def test_another_text_is_refused(small):
    (small / "text" / "ptb.test.txt").write_text("the dog\n")
    with pytest.raises(ConfigError, match=r"ptb.test.txt must have 4 words .* got 3: bring"):
        ptb.load()
    with pytest.raises(ConfigError, match=r"ptb.test.txt must have 4 words .* got 3: bring"):
        ptb.prepare()
    (small / "text" / "ptb.train.txt").write_text("the cat sat\nthe cat sat\n")
    (small / "text" / "ptb.test.txt").write_text("the cat sat\n")
    with pytest.raises(ConfigError, match="must have 5 different words in train, got 4"):
        ptb.load()


def test_missing_text_says_what_to_bring(small, monkeypatch):
    assert ptb.look().ready
    (small / "text" / "ptb.valid.txt").unlink()
    with pytest.raises(ConfigError, match=r"PTB_DIR=.*text must have .* got no ptb.valid.txt"):
        ptb.load()
    assert "got no ptb.valid.txt" in ptb.look().hint
    monkeypatch.delenv("PTB_DIR")
    with pytest.raises(ConfigError, match="has no open licence: put ptb.train.txt"):
        ptb.load()
    assert not ptb.look().ready


def test_a_word_that_train_does_not_have_is_named(small):
    (small / "text" / "ptb.test.txt").write_text("the cow sat\n")
    with pytest.raises(ConfigError, match="ptb.test.txt must have words of ptb.train.txt, got cow"):
        ptb.load()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"level": "letter"}, "dataset.level must be one of word, character, got letter"),
        ({"train_size": 1}, r"dataset.train_size must be .* in \[2, 8\], got 1"),
        ({"train_size": 9}, r"dataset.train_size must be .* in \[2, 8\], got 9"),
    ],
)
def test_a_wrong_setting_is_named(small, settings, message):
    with pytest.raises(ConfigError, match=message):
        ptb.load(**settings)


def test_wrong_tokens_are_named():
    def text(train, words=("a", "b")):
        good = np.array([0, 1], np.int32)
        return TextData(name="t", train=train, valid=good, test=good, words=words)

    text(np.array([0, 1, 1], np.int32))
    with pytest.raises(ConfigError, match=r"train part: tokens must be in \[0, 1\], got 0 to 2"):
        text(np.array([0, 2], np.int32))
    with pytest.raises(ConfigError, match=r"must be int32 \[tokens\], .* got int64 \[2\]"):
        text(np.array([0, 1]))
    with pytest.raises(ConfigError, match="at least one word, each different"):
        text(np.array([0, 1], np.int32), words=("a", "a"))


def test_ties_go_by_the_alphabet():
    assert by_frequency(["b", "a", "c", "c"]) == ("c", "a", "b")
    assert numbered(["b", "c"], ("c", "a", "b")).tolist() == [2, 0]
    assert first_tokens(np.arange(5), 2).tolist() == [0, 1]


def test_a_folder_that_cannot_be_written_is_named(small):
    (small / "file").write_text("")
    with pytest.raises(ConfigError, match="ptb could not be written to .*file: .*TFDS_DATA_DIR"):
        ptb.prepare(data_dir=str(small / "file"))
