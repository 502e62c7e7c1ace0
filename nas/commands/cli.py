"""The `nas` command: calls the module of each word, and shows a user's error as one line."""

import importlib
import io
import os
import sys
from collections.abc import Callable

import nas.onednn  # noqa: F401  before what imports TensorFlow
from nas.core.files import printable
from nas.core.keras_backend import check_keras_backend
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
    _never_fail_to_print()
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
            check_keras_backend()
        return importlib.import_module(COMMANDS[word][0]).main(args)

    return _explained(command, rest, verbose)


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


def _never_fail_to_print() -> None:
    """Escapes what the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _explained(command: Callable[[list[str]], int], args: list[str], verbose: bool) -> int:
    """Runs a command; what ends it is told in one line."""
    try:
        with stopped_by_signals():
            return command(args)
    except BrokenPipeError:  # `head` in `nas list | head` has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Stopped as error:
        return _ended(error.status, f"{error}; what was finished is saved")
    except KeyboardInterrupt:
        return _ended(130, "interrupted; what was finished is saved")
    except (ConfigError, OSError, ImportError, MemoryError, RecursionError) as error:
        if verbose:
            raise
        return _ended(2, _told(error))


def _told(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, OSError):  # a full disk, a folder that is a file, no permission
        where = f" {error.filename}" if error.filename else ""
        return f"cannot write or read{where}: {error.strerror or error}"
    if isinstance(error, ImportError):
        reason = " ".join(str(error).split())
        return f"a package is missing or broken: {reason}; `nas -v` has the traceback"
    if isinstance(error, MemoryError):
        return "out of memory; a smaller setting may help, and nas -v COMMAND ... shows where"
    return "something is nested too deeply; nas -v COMMAND ... shows where"


def _ended(status: int, text: str) -> int:
    print(f"nas: {printable(text)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
