"""Table 5 of NAS-Bench-201 (Dong & Yang 2020) on its own table: paper, ours, verdict, row by row.

    python scripts/reproduce/nasbench201.py            500 seeds, about a minute and a half
    python scripts/reproduce/nasbench201.py --seeds 50

The budget is 12,000 simulated seconds of 12-epoch trainings; each search is judged by the 200-epoch
accuracies of the cell it ends with. Needs NASBENCH201_NPZ. REINFORCE runs three times, as its code
has had different settings: learning rate 0.5 ending with the best cell seen, or with the policy's
most probable one, and NATS-Bench's learning rate 0.01.
"""

import argparse
import json
import sys
from pathlib import Path

from nas.commands.cli import main as nas

# Mean and deviation in percent: validation, test; our label; how near the mean must come.
PAPER = {
    "random search": ((90.93, 0.36), (93.70, 0.36), "random", 0.10),
    "regularized evolution": ((91.19, 0.31), (93.92, 0.30), "regularized_evolution", 0.10),
    "REINFORCE, lr 0.5, best": ((91.09, 0.37), (93.85, 0.37), "reinforce_best", 0.15),
    "REINFORCE, lr 0.5, policy": ((91.09, 0.37), (93.85, 0.37), "reinforce_policy", 0.15),
    "REINFORCE, lr 0.01, best": ((91.09, 0.37), (93.85, 0.37), "reinforce_slow", 0.15),
}
SETTINGS = {
    "reinforce_best": "final: best",
    "reinforce_policy": "final: policy",
    "reinforce_slow": "learning_rate: 0.01",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/reproduce_nasbench201"))
    args = parser.parse_args()
    labels = ",".join(label for _, _, label, _ in PAPER.values())
    settings = [
        f"+settings.{label}={{controller: reinforce_softmax, {text}}}"
        for label, text in SETTINGS.items()
    ]
    status = nas(
        [
            "compare",
            "evaluator=nasbench201",
            f"controllers=[{labels}]",
            f"seeds={args.seeds}",
            f"run_dir={args.run_dir}",
        ]
        + settings
    )
    if status:
        return status
    results = json.loads((args.run_dir / "comparison.json").read_text())["controllers"]
    print(f"\n{'CIFAR-10, %':27}{'':7}{'paper':>15}{'ours':>15}  difference  within")
    for name, (valid, test, label, bar) in PAPER.items():
        for what, (mean, sd), column in (
            ("valid", valid, "valid_200"),
            ("test", test, "test_200"),
        ):
            ours = results[label][column]
            difference = 100 * ours["mean"] - mean
            verdict = "yes" if abs(difference) <= bar else "no"
            print(
                f"{name:27}{what:7}{mean:8.2f} +-{sd:5.2f}{100 * ours['mean']:8.2f} "
                f"+-{100 * ours['sd']:5.2f}  {difference:+10.2f}  {bar}: {verdict}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
