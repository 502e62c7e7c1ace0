"""The `nas` command: calls the module of each word, and shows a user's error as one line."""

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import nas.onednn  # noqa: F401  before what imports TensorFlow
from nas.core.files import printable
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

    That is 0 if the command has done its work, 2 for a wrong setting or a failure, 130 after
    Ctrl-C, and 128 more than its number after another signal.
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
    return _explained(COMMANDS[word][0], rest, verbose)


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


class Stopped(KeyboardInterrupt):
    """Another program has told this one to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raises Stopped at SIGTERM and SIGHUP, which end a command as Ctrl-C does.

    A second one ends the program at once. What ignores a signal, as below `nohup`, goes on doing
    so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _never_fail_to_print() -> None:
    """Escapes what the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _explained(module: str, args: list[str], verbose: bool) -> int:
    """Runs the command of a module; what ends it is told in one line."""
    try:
        with _stopped_by_signals():
            return importlib.import_module(module).main(args)
    except BrokenPipeError:  # `head` in `nas list | head` has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Stopped as error:
        name = signal.Signals(error.number).name
        return _ended(128 + error.number, f"stopped by {name}; what was finished is saved")
    except KeyboardInterrupt:
        return _ended(130, "interrupted; what was finished is saved")
    except (ConfigError, OSError, MemoryError, RecursionError) as error:
        if verbose:
            raise
        return _ended(2, _told(error))


def _told(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, OSError):  # a full disk, a folder that is a file, no permission
        where = f" {error.filename}" if error.filename else ""
        return f"cannot write or read{where}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return "out of memory; a smaller setting may help, and nas -v COMMAND ... shows where"
    return "something is nested too deeply; nas -v COMMAND ... shows where"


def _ended(status: int, text: str) -> int:
    print(f"nas: {printable(text)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
