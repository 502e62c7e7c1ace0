"""The `nas` command: calls the module of each word, and shows a user's error as one line."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nas.onednn  # noqa: F401  before what imports TensorFlow
from nas.core.signals import Stopped, stopped_by_signals
from nas.core.tensorflow_log import silence_tensorflow
from nas.core.trial import ConfigError

# word: (module, what it is for). A module is imported only when its word is called, so that
# --help and list are fast; only commands that train import TensorFlow.
COMMANDS = {
    "search": ("nas.commands.search", "search for an architecture, retrain the best, report"),
    "oneshot": ("nas.commands.oneshot", "train weights that all architectures share, then search"),
    "retrain": ("nas.commands.retrain", "train an architecture at full size from several seeds"),
    "compare": (
        "nas.commands.compare",
        "compare controllers on one benchmark, with statistics",
    ),
    "tabulate": (
        "nas.commands.tabulate",
        "train every architecture of a small space, write a table",
    ),
    "report": ("nas.commands.report", "write report.html and its pictures for a run folder"),
    "export": (
        "nas.commands.export",
        "write .keras, SavedModel and TFLite and check each file",
    ),
    "fit": ("nas.commands.fit", "find the best Keras model for your arrays in a given time"),
    "list": ("nas.commands.list", "show what can be chosen: spaces, controllers, data sets ..."),
    "data": ("nas.commands.data", "show which data sets are here, and prepare one"),
}

HYDRA = ("search", "oneshot", "retrain", "compare", "tabulate")  # the ones that take overrides

WITHOUT_KERAS = ("report", "list", "data")

HELP = """nas: neural architecture search in TensorFlow 2

  nas search                                      search on the embedded digits, about a minute
  nas search controller=random space=nasbench201  any controller on any space
  nas search -m controller=random,reinforce seed=0,1   a sweep
  nas search dataset=cifar10 scale=cpu            real data, sized for a CPU
  nas retrain runs/mine seeds=[0,1,2]             the best of a run, at full size
  nas compare seeds=100                           controllers on a table, with statistics
  nas report runs/mine                            its report.html
  nas list controller                             all controllers

Commands (`nas COMMAND --help` says more):
{commands}

-v before the command shows TensorFlow's own messages and full tracebacks."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Returns its exit status.

    0: done. 2: a wrong setting, or nothing worked. 128 + number: a signal, 130 for Ctrl-C.
    """
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

    def command(args: list[str]) -> int:
        if word not in WITHOUT_KERAS:
            _check_keras_backend()
        return importlib.import_module(COMMANDS[word][0]).main(args)

    return _explained(command, rest, verbose)


def _check_keras_backend() -> None:
    """Raises ConfigError if Keras is told to compute with something else than TensorFlow.

    Keras reads the variable or the file when it is imported, which takes seconds.
    """
    backend = os.environ.get("KERAS_BACKEND")
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    if not backend and (home / "keras.json").is_file():
        try:
            backend = json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):
            return  # Keras does not read it either
    if backend not in (None, "", "tensorflow"):
        raise ConfigError(
            f"Keras' backend must be tensorflow, got {backend}; set KERAS_BACKEND=tensorflow"
        )


def _completing(args: list[str]) -> list[str]:
    """Prepares a shell's request for completions, `nas -sc query=SHELL`, for Hydra.

    The shell puts the line so far into COMP_LINE. Hydra completes the overrides of one program, so
    the command's word is taken out of the line. Returns the command to call with its arguments;
    nothing if the completions are the commands' words, which are printed, or if there are none.
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
        with stopped_by_signals():
            return command(args)
    except ConfigError as error:
        if verbose:
            raise
        print(f"nas: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `head` in `nas list | head` has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that is a file, no permission
        if verbose:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(f"nas: cannot write or read{where}: {error.strerror or error}", file=sys.stderr)
        return 2
    except ImportError as error:
        if verbose:
            raise
        print(
            f"nas: a package is missing or broken: {' '.join(str(error).split())}; `nas -v` has "
            "the traceback",
            file=sys.stderr,
        )
        return 2
    except Stopped as error:
        print(f"nas: {error}; what was finished is saved", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("nas: interrupted; what was finished is saved", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
