"""The `nas` command: which word starts what, and every user's error as one line with status 2."""

import importlib
import os
import sys
from collections.abc import Callable

import nas.onednn  # noqa: F401  before what imports TensorFlow
from nas.core.tensorflow_log import silence_tensorflow
from nas.core.trial import ConfigError

# word: (module, what it is for). A module is imported only when its word is called, so that
# --help and list answer at once; TensorFlow is imported only by what trains.
COMMANDS = {
    "search": ("nas.commands.search", "search for an architecture, retrain the best, report"),
    "oneshot": ("nas.commands.oneshot", "weights shared by all architectures, then a search"),
    "retrain": ("nas.commands.retrain", "train a found architecture at full size, n seeds"),
    "compare": ("nas.commands.compare", "controllers x seeds on one benchmark, with statistics"),
    "tabulate": (
        "nas.commands.tabulate",
        "train every architecture of a small space, write a table",
    ),
    "report": ("nas.commands.report", "write report.html and its pictures for a run folder"),
    "export": (
        "nas.commands.export",
        "write .keras, SavedModel and TFLite, each loaded again and scored",
    ),
    "fit": ("nas.commands.fit", "the best Keras model for your arrays in so many minutes"),
    "list": ("nas.commands.list", "what can be chosen: spaces, controllers, data sets ..."),
    "data": ("nas.commands.data", "which data sets are here; prepare what can be prepared"),
}

HYDRA = ("search", "oneshot", "retrain", "compare", "tabulate")  # those that take overrides

HELP = """nas: neural architecture search in TensorFlow 2

  nas search                                      search on the embedded digits, about a minute
  nas search controller=random space=nasbench201  any controller on any space
  nas search -m controller=random,reinforce seed=0,1   a sweep
  nas search dataset=cifar10 scale=cpu            real data, sized for a CPU
  nas retrain runs/mine seeds=[0,1,2]             the best of a run, at full size
  nas compare seeds=100                           controllers on a table, with statistics
  nas report runs/mine                            its report.html
  nas list controller                             what controllers there are

Commands (`nas COMMAND --help` says more):
{commands}

-v before the command shows TensorFlow's own messages and full tracebacks."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Returns its exit status: 0 done, 2 a setting to mend, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    verbose = args[:1] == ["-v"]
    args = args[verbose:]
    if not args or args[0] in ("-h", "--help", "help"):
        rows = "\n".join(f"  {word:9}{text}" for word, (_, text) in COMMANDS.items())
        print(HELP.format(commands=rows))
        return 0
    if args[0] in ("-sc", "--shell-completion"):
        args = _completing(args)
        if not args:
            return 0
    word, *rest = args
    if word not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        print(f"nas: no command {word!r}. {hint}`nas --help` lists them.", file=sys.stderr)
        return 2
    if not verbose:
        silence_tensorflow()
    return _explained(importlib.import_module(COMMANDS[word][0]).main, rest, verbose)


def _completing(args: list[str]) -> list[str]:
    """A shell asks `nas -sc query=SHELL`, the line so far in COMP_LINE; Hydra knows one program.

    Returns the command that answers, with the line as if it were a program of its own; none where
    the commands themselves, or nothing, are the answer.
    """
    if not any(arg.startswith("query=") for arg in args):
        return ["search", *args]
    program, _, line = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
    word, space, rest = line.lstrip().partition(" ")
    if not space:
        print("\n".join(COMMANDS))
    if not space or word not in HYDRA:
        return []
    os.environ["COMP_LINE"] = f"{program} {rest}"
    return [word, *args]


def _explained(command: Callable[[list[str]], int], args: list[str], verbose: bool) -> int:
    try:
        return command(args)
    except ConfigError as error:
        if verbose:
            raise
        print(f"nas: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of `nas list | head` has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that is a file, no permission
        if verbose:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(f"nas: cannot write or read{where}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nas: interrupted; what was finished is saved", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
