"""`nas list [GROUP]`: shows what can be chosen, with the first line of each file of conf/."""

import argparse
from importlib import resources
from importlib.resources.abc import Traversable

from nas.core.trial import ConfigError

GROUPS = {
    "experiment": "a paper's run, each number with its source",
    "scale": "how large: seconds (smoke), an hour on a CPU (cpu), as published (paper)",
    "space": "what is searched",
    "controller": "who searches",
    "method": "how nas oneshot trains shared weights",
    "cell": "a published recurrent cell that nas retrain trains",
    "probe": "networks trained alone, with which the ranking by shared weights is compared",
    "dataset": "what the networks learn",
    "evaluator": "how a candidate is evaluated",
    "reward": "the number that the controller maximises",
    "recipe": "how a network is trained",
    "skeleton": "the fixed part of the network around what is searched",
    "retrain": "what follows the search",
    "executor": "where candidates are evaluated",
    "logger": "which service also records the run",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="nas list", description="What can be chosen with GROUP=NAME."
    )
    parser.add_argument("group", nargs="?", help="only this group: " + ", ".join(GROUPS))
    group = parser.parse_args(argv).group
    folder = resources.files("nas").joinpath("conf")
    if group is not None and not folder.joinpath(group).is_dir():
        raise ConfigError(f"group must be one of {', '.join(GROUPS)}, got {group}")
    for name, text in GROUPS.items():
        if group not in (None, name) or not folder.joinpath(name).is_dir():
            continue
        print(f"{name}: {text}")
        files = [f for f in folder.joinpath(name).iterdir() if f.name.endswith(".yaml")]
        width = max(len(file.name.removesuffix(".yaml")) for file in files) + 2
        for file in sorted(files, key=lambda f: f.name):
            print(f"  {name}={file.name.removesuffix('.yaml'):{width}}{_first_comment(file)}")
    return 0


def _first_comment(file: Traversable) -> str:
    """The first comment line that is not Hydra's package directive."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""
