"""The project around the library: command line, runs through papermill, rendering of the site."""

import os

# OpenBLAS reads it when NumPy loads: on matrices as small as these its threads cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
