"""Keeps TensorFlow from writing log lines to the terminal.

When TensorFlow is imported, its C++ code writes lines to file descriptor 2 before it reads any log
level. So the descriptor is redirected during that import, wherever it happens; if the import fails,
the lines are shown. Later, TensorFlow's Python logger warns of functions that are traced again and
again, which is normal in a search, where each network is another graph.
"""

import contextlib
import importlib.abc
import importlib.machinery
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's own setting; 3 shows errors alone


def silence_tensorflow() -> None:
    """Silences TensorFlow in this process and in all processes that it starts."""
    os.environ.setdefault(_LEVEL, "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    silence_if_configured()


def silence_if_configured() -> None:
    """Silences TensorFlow if the environment asks for it, as in workers of a silenced parent."""
    if os.environ.get(_LEVEL) != "3":
        return
    logging.getLogger("tensorflow").addFilter(is_not_of_retracing)
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


def is_not_of_retracing(record: logging.LogRecord) -> bool:
    """A filter for the logger `tensorflow`, which drops warnings of retracing."""
    return "triggered tf.function retracing" not in record.getMessage()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds `tensorflow` as Python's own finder does, and has it loaded silently."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Executes a module with standard error redirected, then steps out of the way."""

    def __init__(self, loader: importlib.abc.Loader):
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        with _stderr_redirected():
            self.loader.exec_module(module)


@contextlib.contextmanager
def _stderr_redirected() -> Iterator[None]:
    """Redirects file descriptor 2 to a file, which is discarded, or shown after an exception."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
