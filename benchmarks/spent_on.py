"""What a bisection's runs are spent on, beside the same search told the rates.

python benchmarks/spent_on.py [--n 16] [--build 1] [--rates .9,.5,.2,.05] [--sims 100] [--first 0]

A mean over simulated series, by what was run: failures and passes of the bad end and all else that
has the bug (of these the culprit's own), passes of the culprit's parent, passes of commits below
it, and builds.  A search that is told the rates knows what a pass is worth from the first one on.
"""

from __future__ import annotations

import argparse
from collections import Counter

from bisect_sim import Cell, World, ours, rates_of

from harness.campaign.search import Policy

RATES = (0.9, 0.5, 0.2, 0.05)


class Watched(World):
    """A world that counts its runs by what was run."""

    def __init__(self, cell: Cell, seed: int) -> None:
        super().__init__(cell, seed)
        self.spent: Counter[str] = Counter()

    def run(self, commit: int) -> bool:
        failed = super().run(commit)
        if commit == self.culprit - 1:
            self.spent["parent"] += 1
        elif commit < self.culprit:
            self.spent["below"] += 1
        else:
            self.spent["failures" if failed else "their passes"] += 1
            self.spent["culprit"] += commit == self.culprit
        return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--build", type=float, default=1.0)
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--sims", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed")
    args = parser.parse_args()
    kinds = ("failures", "their passes", "culprit", "parent", "below")
    print(f"{'rate':>5} {'search':>6}  " + "  ".join(f"{kind:>12}" for kind in (*kinds, "builds")))
    for rate in map(float, args.rates.split(",")):
        cell = Cell(args.n, rate, 0.0, args.build)
        for name, prior in (("ours", None), ("told", rates_of(cell))):
            spent: Counter[str] = Counter()
            for seed in range(args.first, args.first + args.sims):
                world = Watched(cell, seed)
                spent["builds"] += ours(world, Policy(), prior).builds
                spent += world.spent
            means = "  ".join(f"{spent[kind] / args.sims:>12.1f}" for kind in (*kinds, "builds"))
            print(f"{rate:>5g} {name:>6}  {means}", flush=True)


if __name__ == "__main__":
    main()
