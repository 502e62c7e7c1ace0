"""Compares how digits-201 and NAS-Bench-201 rank cells, by Kendall's tau.

    NASBENCH201_NPZ=table.npz python scripts/reproduce/rank_digits201.py            a few seconds

The script ranks the 6,466 different cells by digits-201's test accuracy after the last epoch (mean
of its seeds) and prints tau against columns of NAS-Bench-201, against the cells' number of
parameters, and between the two seeds. The column of parameters shows how well counting weights
ranks instead.
"""

import argparse
import sys

import numpy as np
from scipy.stats import kendalltau

from nas.benchmarks.tables.nasbench201 import Table, position
from nas.benchmarks.tables.tabulated import DIGITS201
from nas.tables.table_file import read_table

COLUMNS = (("cifar10", "test_200"), ("cifar10", "valid_12"), ("cifar100", "valid_200"))


def tau(one: np.ndarray, other: np.ndarray) -> float:
    return float(kendalltau(one, other).statistic)


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    arrays, about = read_table(DIGITS201)
    print(f"{about['command']}, commit {about['commit']}, {len(arrays['archs']):,} cells")
    correct = arrays["test_hits"][:, :, -1].astype(float)
    ours, size = correct.mean(1) / about["dataset"]["test"], arrays["parameters"].astype(float)
    print(f"test accuracy {100 * ours.mean():.2f} on average, {100 * ours.max():.2f} at best")
    at = [position(tuple(arch)) for arch in arrays["archs"].tolist()]
    print(f"{'':22}  digits-201  parameters")
    for dataset, name in COLUMNS:
        reference = Table(dataset=dataset).column(name)[at]
        print(f"{dataset + ' ' + name:22}{tau(ours, reference):12.3f}{tau(size, reference):12.3f}")
    print(f"{'one seed, the other':22}{tau(*correct.T):12.3f}")
    print(f"{'its own parameters':22}{tau(ours, size):12.3f}")
    best = int(np.argmax(ours))
    reference = Table(dataset="cifar10").column("test_200")[at]
    rank = float((reference < reference[best]).mean())
    print(f"its best cell has {100 * reference[best]:.2f} on CIFAR-10, above {100 * rank:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
