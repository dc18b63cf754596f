"""The project around the library: command line, runs with papermill, pages and rendering of the site."""

import os

# Read by OpenBLAS when NumPy is loaded: for matrices as small as ours its threads cost more than they gain.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
