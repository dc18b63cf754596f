"""The long computations behind the site: ``python -m ilhte_report.compute [NAME ...]``, all of them without a name.

Each writes its files in ``data/computed``; one that was interrupted continues.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ilhte_lib.errors import IlhteError


def _engines() -> None:
    from .engines_compute import compute_engines

    compute_engines()


def _size() -> None:
    from .studies_compute import compute_size

    compute_size()


def _coverage() -> None:
    from .studies_compute import compute_coverage

    compute_coverage()


def _bias() -> None:
    from .studies_compute import compute_bias

    compute_bias()


def _identification() -> None:
    from .identification_compute import compute_identification

    compute_identification()


COMPUTATIONS: dict[str, Callable[[], None]] = {
    "engines": _engines,
    "size": _size,
    "coverage": _coverage,
    "bias": _bias,
    "identification": _identification,
}


def main(names: Sequence[str]) -> int:
    """Run the named computations, or all; 2 and a sentence where one cannot be run."""
    unknown = [name for name in names if name not in COMPUTATIONS]
    if unknown:
        print(f"There is no computation {unknown[0]!r}: use one of {', '.join(COMPUTATIONS)}.", file=sys.stderr)
        return 2
    for name in names or COMPUTATIONS:
        try:
            COMPUTATIONS[name]()
        except IlhteError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
