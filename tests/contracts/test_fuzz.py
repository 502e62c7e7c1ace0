"""Random settings for every command: it does what they say, or says in one line what is wrong.

The examples of each run are the same (derandomize). The slow test tries other ones for ten minutes.
"""

import functools
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from tests.helpers.cli import QUICK, nas

LONGEST = 60  # seconds after which a command counts as hanging

# What each command is run with, so that an accepted setting costs little.
COMMANDS = {
    "search": (*QUICK, "controller=random", "space=nasbench201", "max_trials=2", "retrain=none"),
    "compare": ("controllers=[random,local_search]", "seeds=1", "max_trials=3", "executor=serial"),
    "tabulate": ("limit=1", "seeds=[0]", "recipe.epochs=1", "executor=serial",
                 "dataset.train_size=32", "skeleton.channels=2", "skeleton.cells=1"),
    "oneshot": ("max_trials=1", "recipe.epochs=1", "skeleton.channels=2", "skeleton.cells=1",
                "random_samples=1", "dataset.train_size=64"),
    "retrain": ("genotype=0,0,0,0,0,0", "seeds=[0]", "recipe.epochs=1", "dataset.train_size=32",
                "skeleton.channels=2", "skeleton.cells=1"),
}  # fmt: skip
VALUES = (
    *("null", "true", "false", "0", "1", "-1", "2", "0.5", "-0.0", "1e-9", "1e30", "1e400", "nan"),
    *("inf", "''", '""', "' '", "abc", "[]", "{}", "[1]", "[null]", "[a,b]", "{a:1}", "größe"),
    *("a=b", "(x)", "x,y", "'x,y'", "${seed}", "${oc.env:HOME}", "${nothing}", "???", "~", "@"),
    *("99999999999999999999", "4294967296", "../x", "/", "[[1,2],[3]]", "'\n'", "é", "0x10", "1_0"),
)
NAMES = (
    *("nothing", "a b", "", "space.nothing", "seed.x", "+new", "++seed", "~seed", "~nothing"),
    "größe",
)


def names(node: DictConfig, prefix: str = "") -> list[str]:
    """Every setting below a node, with dots."""
    found = []
    for key in node:
        if key == "hydra":
            continue
        name = f"{prefix}{key}"
        found.append(name)
        if isinstance(node._get_node(key), DictConfig) and not OmegaConf.is_missing(node, key):
            found += names(node[key], f"{name}.")
    return found


@functools.cache
def settings_of(command: str) -> list[str]:
    said = nas(command, *COMMANDS[command], "--cfg", "job")
    assert said.status == 0, said
    return sorted(set(names(OmegaConf.create(said.out))))


class Hangs(Exception):
    """A command did not end."""


def run(command: str, overrides: list[str], folder: str) -> None:
    def stop(*_):
        raise Hangs(f"{command} {overrides}")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        said = nas(command, *COMMANDS[command], f"run_dir={folder}/run", *overrides)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert said.status in (0, 2), said
    assert "Traceback" not in said.err, said
    if said.status == 2:
        assert said.err.startswith("nas: "), said
        assert said.err.count("\n") == 1, said
        for word in ("has no attribute", "NoneType", "mismatched input", "token recognition"):
            assert word not in said.err, said
        return
    saved = Path(folder) / "run" / "config.yaml"
    for override in overrides:
        name, _, text = override.lstrip("+").partition("=")
        if saved.is_file() and "." in name and not override.startswith("~"):
            assert OmegaConf.select(OmegaConf.load(saved), name, default="absent") != "absent", said


ONE = st.tuples(st.floats(0, 0.999), st.sampled_from(VALUES))
OVERRIDES = st.lists(ONE, min_size=1, max_size=2)


def override_texts(command: str, drawn: list[tuple[float, str]]) -> list[str]:
    known = [*settings_of(command), *NAMES]
    return [f"{known[int(place * len(known))]}={value}" for place, value in drawn]


def attack(command: str, drawn: list[tuple[float, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(command, override_texts(command, drawn), folder)


@pytest.mark.parametrize("command", ["search", "compare", "retrain"])
def test_random_settings_are_obeyed_or_refused_in_one_line(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    @settings(
        max_examples=12 if command == "search" else 4, deadline=None, derandomize=True,
        database=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(OVERRIDES)
    def attacked(drawn):
        attack(command, drawn)

    attacked()


@pytest.mark.slow
def test_ten_minutes_of_random_settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rng, until = random.Random(time.time_ns()), time.monotonic() + 600
    while time.monotonic() < until:
        command = rng.choice(list(COMMANDS))
        drawn = [(rng.random() * 0.999, rng.choice(VALUES)) for _ in range(rng.randint(1, 2))]
        attack(command, drawn)
