"""Words of a command line: options before overrides, quotes, and what cannot be read."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nas.core.quoting import for_shell, quoted, written
from nas.core.trial import ConfigError
from nas.experiment.overrides import check_readable, options_first

ODD = (
    "runs/mine", "größe", "a=b", "(x)", "it's", "a b", "x,y", "[0", "{", "$HOME", "${a}", "7",
    "1e3", "true", "null", "", "a\\", "a\\'b", "tail\\\\", "~x", "@y", "100%", "#3", "a:b", "-m",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_a_quoted_text_is_read_back(text):
    parsed = OverridesParser.create().parse_override(f"name={quoted(text)}")
    value = parsed.value()
    assert value == text.replace("${", "\\${") and isinstance(value, str)


@pytest.mark.parametrize(
    "value", [None, True, False, 3, 0.5, 1e-05, "a=b", [1, [2.5, "x,y"]], {"a": [True, None]}]
)
def test_a_value_is_written_as_hydra_reads_it(value):
    read = OverridesParser.create().parse_override(f"name={written(value)}").value()
    assert read == value and type(read) is type(value)


def test_options_come_first_with_their_words():
    given = ["seed=1", "-m", "a=b", "--cfg", "job", "~x", "--info", "c=d", "-cd", "mine"]
    first = ["-m", "--cfg", "job", "--info", "-cd", "mine", "seed=1", "a=b", "~x", "c=d"]
    assert options_first(given) == first


@pytest.mark.parametrize(
    "args, told", [(["--foo"], "no option --foo"), (["--cfg"], "by its value")]
)
def test_an_option_that_is_none_is_told(args, told):
    with pytest.raises(ConfigError, match=told):
        options_first(args)


@pytest.mark.parametrize(
    "arg, told",
    [
        ("run_dir=runs/größe", '''in quotes .* "run_dir='runs/größe'"'''),
        ("run_dir=a=b", '''in quotes .* "run_dir='a=b'"'''),
        ("run_dir=(x)", '''in quotes .* "run_dir='\\(x\\)'"'''),
        ("seeds=[0", "seeds has a value that cannot be read, got .0"),
        ("seed", "a setting must be written NAME=VALUE, got seed"),
        ("=3", "a setting must be written NAME=VALUE, got =3"),
        ("run_dir=a,b", "run_dir must be one folder for all runs of a sweep"),
        ("run_dir=null", "run_dir must be the name of a folder, got null"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_quotes_it_needs(arg, told):
    with pytest.raises(ConfigError, match=told) as error:
        check_readable([arg], has_own_folder=True)
    assert not any(word in str(error.value) for word in ("Lexer", "token", "hydra.cc", "<EOF>"))


def test_a_word_is_quoted_for_the_shell_only_where_it_must():
    assert [for_shell(w) for w in ("a=1", "r='x y'", "a b", "$x")] == [
        "a=1", '''"r='x y'"''', "'a b'", "'$x'",
    ]  # fmt: skip
