"""Linear algebra runs on one thread during a fit and as before after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from conftest import PROJECT

SCRIPT = """
import json, numpy, scipy.linalg
from threadpoolctl import threadpool_info
from ilhte_lib.engine import native
from ilhte_lib import analyse
from ilhte_lib.model.simulate import COLLECTION, simulate_trial

def threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

seen, minimise = [], native._minimise
def watched(*args, **kwargs):
    seen.extend(threads())
    return minimise(*args, **kwargs)
native._minimise = watched
before = threads()
analyse(simulate_trial(next(iter(COLLECTION.values())))[0])
print(json.dumps([before, seen, threads()]))
"""


def test_a_fit_holds_blas_to_one_thread_and_gives_the_threads_back():
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    before, during, after = json.loads(done.stdout)
    assert before and set(before) == {2}
    assert during and set(during) == {1}
    assert after == before
