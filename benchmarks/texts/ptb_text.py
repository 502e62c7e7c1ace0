"""The text files of Penn Treebank, and their tokens. Needs neither TensorFlow nor its datasets."""

from pathlib import Path

from nas.core.trial import ConfigError

EOS = "<eos>"  # the token that ends each line


def lines(file: Path) -> list[str]:
    """The lines of a file, with one space between words. Raises ConfigError for a blank line."""
    text = [" ".join(line.split()) for line in file.read_text(encoding="utf-8").splitlines()]
    if "" in text:
        raise ConfigError(
            f"{file} must have no blank line, got one, line {text.index('') + 1}: some copies "
            f"have it, and it would count as one {EOS} more; delete it"
        )
    return text


def tokens_of(text: list[str], level: str) -> list[str]:
    """The words or the characters of lines, with one token at the end of each line.

    level: "word" or "character".
    """
    if level == "word":
        return [word for line in text for word in [*line.split(), EOS]]
    return list("".join(line + "\n" for line in text))
