"""`nas list [GROUP]`: what can be chosen, read off the first line of each file in conf/."""

import argparse
from importlib import resources

from nas.core.trial import ConfigError

GROUPS = {
    "experiment": "a paper's run, every number as published",
    "scale": "how large: smoke, cpu, paper",
    "space": "what is searched",
    "controller": "who searches",
    "method": "how shared weights are trained, of nas oneshot",
    "probe": "networks trained alone, which shared weights are held against",
    "dataset": "what the networks learn",
    "evaluator": "how an architecture becomes a number",
    "reward": "what the controller is paid for",
    "recipe": "how a network is trained",
    "skeleton": "the fixed part round what is searched",
    "retrain": "what follows the search",
    "executor": "where children run",
    "logger": "who else is told",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="nas list", description="What can be chosen with GROUP=NAME."
    )
    parser.add_argument("group", nargs="?", help="only this group: " + ", ".join(GROUPS))
    group = parser.parse_args(argv).group
    folder = resources.files("nas.conf")
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


def _first_comment(file) -> str:
    """The first comment that is not Hydra's package line."""
    for line in file.read_text().splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""
