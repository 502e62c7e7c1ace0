"""The embedded grammar: its entropy by hand and by drawing, and a model that comes near it."""

import math

import numpy as np
import pytest

from nas.benchmarks.texts import grammar
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError
from nas.language import loop as language
from nas.language.recipe import LanguageRecipe
from nas.search_spaces.recurrent.cell import LSTM
from nas.search_spaces.recurrent.language_model import LanguageModel

START = "whole sentence"


def first(symbol, rules):
    """The words a symbol can begin with, and None where it can be nothing."""
    if symbol not in rules:
        return {symbol}
    return set().union(*(first_of(becomes, rules) for _, becomes in rules[symbol]))


def first_of(symbols, rules):
    found = {None}
    for symbol in symbols:
        if None not in found:
            break
        found = found - {None} | first(symbol, rules)
    return found


def follow(rules):
    """The words that can come right after each symbol."""
    after = {name: set() for name in rules}
    for _ in range(len(rules)):
        for name, ways in rules.items():
            for _, becomes in ways:
                for i, symbol in enumerate(becomes):
                    if symbol in rules:
                        next_ones = first_of(becomes[i + 1 :], rules)
                        after[symbol] |= next_ones - {None}
                        if None in next_ones:
                            after[symbol] |= after[name]
    return after


def test_the_next_word_decides_the_rule():
    """LL(1): then the probability of a rule is that of what is read, and the floor is exact."""
    after = follow(grammar.RULES)
    for name, ways in grammar.RULES.items():
        assert sum(p for p, _ in ways) == pytest.approx(1)
        starts = [first_of(becomes, grammar.RULES) for _, becomes in ways]
        starts = [s - {None} | after[name] if None in s else s for s in starts]
        assert sum(map(len, starts)) == len(set().union(*starts)), name


def test_no_word_is_in_two_classes_or_names_a_rule():
    words = " ".join(grammar.WORDS.values()).split()
    assert len(set(words)) == len(words)
    assert not set(words) & set(grammar.RULES)
    data = grammar.load(train_size=5000)
    assert set(data.words) == {*words, "that", "<eos>"}
    assert data.vocabulary == 80 and data.words[data.train[0]] == "<eos>"


def test_entropies_by_hand(monkeypatch):
    monkeypatch.setattr(
        grammar, "RULES", {START: ((0.5, ("heads", "<eos>")), (0.5, ("tails", "<eos>")))}
    )
    assert grammar.entropy() == pytest.approx(math.log(2) / 2)  # a coin, and the certain end
    tokens, surprisals = grammar.draw(6, np.random.default_rng(0))
    assert tokens[::2] == ["<eos>"] * 3
    np.testing.assert_allclose(surprisals, [0, math.log(2), 0, math.log(2), 0, math.log(2)])
    # Another word with probability 1/4: 4/3 words, as many choices, and the end.
    again = {START: ((1.0, ("more", "<eos>")),), "more": ((0.25, ("a", "more")), (0.75, ("b",)))}
    monkeypatch.setattr(grammar, "RULES", again)
    one = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert grammar.entropy() == pytest.approx((one * 4 / 3) / (4 / 3 + 1))


def test_drawn_sentences_have_the_languages_entropy():
    _, surprisals = grammar.draw(50_000, np.random.default_rng(1))
    blocks = surprisals[100:].reshape(-1, 100).mean(1)
    deviation = blocks.std() / math.sqrt(len(blocks))  # of the mean; sentences are about 8 words
    assert blocks.mean() == pytest.approx(grammar.entropy(), abs=4 * deviation)
    assert deviation < 0.01


def test_parts_differ_and_repeat_with_their_seed():
    settings = {"train_size": 3000, "valid_size": 500, "test_size": 500}
    first, again = grammar.load(**settings), grammar.load(**settings)
    other = grammar.load(seed=1, **settings)
    np.testing.assert_array_equal(first.train, again.train)
    assert first.entropy == again.entropy
    assert (first.train != other.train).any() and (first.train[:500] != first.test).any()
    assert [len(first.train), len(first.valid), len(first.test)] == [3000, 500, 500]
    assert "3,000, 500, 500 words" in grammar.look(**settings).contents


def test_a_trained_model_comes_within_3_percent_of_the_floor_and_not_below():
    data = grammar.load()
    skeleton = LanguageSkeleton(vocabulary=data.vocabulary, units=32, embedding=32, layers=1)
    model = language.build(lambda: LanguageModel(LSTM, skeleton), 0)
    recipe = LanguageRecipe(epochs=5, decay_after=3, batch_size=40, test_batch_size=10)
    history = language.fit(model, data, recipe, seed=0, test=True)
    ratio = history["test_perplexity"][0] / math.exp(data.entropy["test"])
    assert 1 < ratio < 1.03


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_wrong_size_is_named(name):
    message = rf"dataset.{name}_size must be a number of tokens, at least 2, got 1"
    with pytest.raises(ConfigError, match=message):
        grammar.load(**{f"{name}_size": 1})
