"""A check for continuous integration: exit code 1 if robustness fell, 4 if the number is not sound.

The model passes while the upper end of its interval reaches the floor: a drop within the noise of
these samples does not fail a build.
"""

import sys

import worldline as wl

FLOOR = 0.60
"""Accuracy under attack that the last release had."""


def main() -> int:
    """The exit code."""
    data = wl.zoo.digits()
    model = wl.zoo.load("mlp-adv")  # yours

    found = wl.doctor(model, data.x, data.y, eps=0.15, samples=80).record
    left = found.worst_case[-1]
    low, high = left.interval
    print(f"right under attack: {left.accuracy:.0%} ({low:.0%} to {high:.0%}); floor {FLOOR:.0%}")
    for check in found.checks:
        if check.status == "warned":
            print(f"warning: {check.name}: {check.sentence}")
    if high < FLOOR:
        return 1
    return 0 if found.trustworthy else 4


if __name__ == "__main__":
    sys.exit(main())
