"""TensorFlow without the lines it writes when it is imported.

They come from C++ before any log level is read, straight to file descriptor 2. So that descriptor
leads elsewhere while TensorFlow is imported, wherever that happens; should the import fail, what
was written is shown after all. Later on, Python's logger warns of graphs that are traced again and
again; in a search each network is another graph.
"""

import contextlib
import importlib.abc
import importlib.machinery
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's own setting; 3 shows errors alone


def silence_tensorflow() -> None:
    """From here on TensorFlow is quiet, in the processes started from this one as well."""
    os.environ.setdefault(_LEVEL, "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    silence_if_configured()


def silence_if_configured() -> None:
    """The same where the environment asks for quiet: in a worker, whose parent has set it."""
    if os.environ.get(_LEVEL) != "3":
        return
    logging.getLogger("tensorflow").addFilter(is_not_of_retracing)
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


def is_not_of_retracing(record: logging.LogRecord) -> bool:
    """A filter for the logger `tensorflow`."""
    return "triggered tf.function retracing" not in record.getMessage()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds `tensorflow` as the others would, but has it loaded in silence."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        with _stderr_aside():
            self.loader.exec_module(module)


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    """File descriptor 2 writes to a file that is thrown away, or shown after an exception."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
