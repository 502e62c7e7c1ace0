"""What TensorFlow says of every search is left out, where the user has not asked for more."""

import logging
import sys

import pytest

from nas.quiet import hush_as_asked

RETRACING = "5 out of the last 5 calls to %r triggered tf.function retracing. Tracing is expensive"


@pytest.mark.parametrize("level, told", [("3", ["a loss"]), ("2", ["5 out of", "a loss"])])
def test_warnings_of_retracing(monkeypatch, caplog, level, told):
    logger = logging.getLogger("tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "propagate", True)
    hush_as_asked()
    hush_as_asked()  # a worker's parent may have been hushed as well
    logger.warning(RETRACING, "epoch")
    logger.warning("a loss is odd")
    heard = [record.getMessage() for record in caplog.records]
    assert len(heard) == len(told)
    assert all(text.startswith(start) for text, start in zip(heard, told, strict=True))
