"""CPU seconds of the native engine beside lme4, glmmTMB and the Python packages glmm, mixedlm, GPBoost and lme-python.

    python -m benchmarks [tables] [sizes] [large]        from the project's folder; all three without a name

``tables``: every real table (those of ../shared where developers have it, else the bundled ones), about an hour.
``sizes``: simulated trials of 500 x 40 to 20,000 x 60, complete and with 10% missing, about half an hour.
``large``: .6 to 600 million responses read out of core, a quarter of an hour.

Each prints its tables and writes a file into data/computed. What a peer took is kept in data/cache/benchmark, so that
an interrupted benchmark continues; remove that folder to measure everything anew. Peers that are not installed are
left out with a word.
"""

from __future__ import annotations

import os
import sys

# a BLAS reads this when NumPy loads it: one thread, as for every peer
for variable in (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
):
    os.environ[variable] = "1"


def main(parts: list[str]) -> int:
    """Run the named parts, or all of them."""
    from . import growth, peers, trials
    from .comparison import compare

    known = {
        "tables": lambda: compare("benchmark", trials.real_tables(), peers.installed()),
        "sizes": lambda: compare("benchmark_sizes", trials.sizes(), peers.installed()),
        "large": growth.measure,
    }
    for part in parts or list(known):
        if part not in known:
            print(f"There is no part {part!r}: use one of {', '.join(known)}.", file=sys.stderr)
            return 2
        known[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
