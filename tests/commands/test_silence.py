"""What nas sets for TensorFlow before it is imported, and what it leaves out of what that says."""

import logging
import os
import subprocess
import sys

import pytest

from nas.core.tensorflow_log import silence_if_configured

RETRACING = "5 out of the last 5 calls to %r triggered tf.function retracing. Tracing is expensive"


@pytest.mark.parametrize("level, told", [("3", ["a loss"]), ("2", ["5 out of", "a loss"])])
def test_warnings_of_retracing(monkeypatch, caplog, level, told):
    logger = logging.getLogger("tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "propagate", True)
    silence_if_configured()
    silence_if_configured()  # a worker's parent may have been hushed as well
    logger.warning(RETRACING, "epoch")
    logger.warning("a loss is odd")
    heard = [record.getMessage() for record in caplog.records]
    assert len(heard) == len(told)
    assert all(text.startswith(start) for text, start in zip(heard, told, strict=True))


@pytest.mark.parametrize(
    "module, given, found",
    [
        ("nas.commands.cli", {}, "1"),
        ("nas.commands.cli", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "0"),
        ("nas", {}, "None"),  # whose process trains networks that are not ours
    ],
)
def test_commands_have_tensorflow_compute_with_onednn_unless_told_otherwise(module, given, found):
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    code = (
        f"import os, sys, {module};"
        "print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True
    )
    assert done.stdout.split() == [found, "False"], done.stderr
