"""How digits-201 ranks cells, against NAS-Bench-201 and against itself: Kendall's tau.

    NASBENCH201_NPZ=table.npz python scripts/reproduce/rank_digits201.py            a few seconds

Over the 6,466 different cells, after the last epoch: digits-201's test accuracy, the mean of its
seeds, against NAS-Bench-201's after 200 epochs on each of its data sets, against the cells' number
of parameters, and one seed against the other. The row of parameters shows what counting weights
would do instead.
"""

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
    arrays, about = read_table(DIGITS201)
    print(f"{about['command']}, commit {about['commit']}, {len(arrays['archs']):,} cells")
    hits = arrays["test_hits"][:, :, -1].astype(float)
    ours, size = hits.mean(1) / about["dataset"]["test"], arrays["parameters"].astype(float)
    print(f"test accuracy {100 * ours.mean():.2f} in the mean, {100 * ours.max():.2f} at best")
    at = [position(tuple(arch)) for arch in arrays["archs"].tolist()]
    print(f"{'':22}  digits-201  parameters")
    for dataset, name in COLUMNS:
        truth = Table(dataset=dataset).column(name)[at]
        print(f"{dataset + ' ' + name:22}{tau(ours, truth):12.3f}{tau(size, truth):12.3f}")
    print(f"{'one seed, the other':22}{tau(*hits.T):12.3f}")
    print(f"{'its own parameters':22}{tau(ours, size):12.3f}")
    best = int(np.argmax(ours))
    truth = Table(dataset="cifar10").column("test_200")[at]
    rank = float((truth < truth[best]).mean())
    print(
        f"its best cell has {100 * truth[best]:.2f} on CIFAR-10, above {100 * rank:.1f} % of them"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
