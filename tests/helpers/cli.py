"""`nas ...` within a test, and an evaluator that takes no time."""

import contextlib
import dataclasses
import io
import os
import sys

from nas.commands import cli

# No TensorFlow, nothing to wait for; `executor=serial` runs it in this process.
QUICK = ("executor=serial", "evaluator._target_=tests.helpers.cli.Quick")
# A training of a second on digits.
TINY = ("recipe.epochs=1", "recipe.batch_size=128", "skeleton.channels=2", "skeleton.cells=1")


@dataclasses.dataclass
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


def nas(*args: str) -> Said:
    """Runs one command in this process, which it leaves as it was."""
    out, err = io.StringIO(), io.StringIO()
    argv, environment = list(sys.argv), dict(os.environ)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(list(args))
    except SystemExit as error:  # argparse and Hydra end so after --help
        status = error.code if isinstance(error.code, int) else 1
    finally:
        sys.argv[:] = argv
        os.environ.clear()
        os.environ.update(environment)
    return Said(status, out.getvalue(), err.getvalue())


def refused(*args: str) -> str:
    """The one line of a command that is told what to mend."""
    said = nas(*args)
    assert said.status == 2, said
    assert said.err.startswith("nas: ") and said.err.count("\n") == 1, said.err
    return said.err.strip()


class Quick:
    """An architecture's accuracy is made up: larger numbers, larger accuracy."""

    def __init__(self, **settings):
        pass

    def __call__(self, trial_id, proposal):
        accuracy = sum(proposal.arch) / (1 + max(proposal.arch)) / len(proposal.arch)
        return {"valid_accuracy": accuracy, "seconds": 1.0}


class Failing(Quick):
    def __call__(self, trial_id, proposal):
        raise ValueError("never")
