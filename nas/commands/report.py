"""`nas report RUN`: writes the report of a run folder, one self-contained page with pictures."""

import argparse
from pathlib import Path

from nas.report.report import write_report


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="nas report",
        description="Write report.html and its pictures into a run folder, or elsewhere.",
        epilog="example: nas report runs/mine --random-run runs/mine_random",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a folder that `nas search` wrote")
    parser.add_argument(
        "--random-run",
        metavar="RUN",
        type=Path,
        help="a run of controller=random for the band",
    )
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, help="where to write it; default: into RUN"
    )
    args = parser.parse_args(argv)
    print(write_report(args.run, random_run=args.random_run, to=args.to))
    return 0
