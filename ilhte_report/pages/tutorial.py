"""The tutorial's data file, and its commands with their output."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.errors import EngineError, InputError

from ..project import data_folder
from ..words.markdown import code_block

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

FILMS = {"sad": "film_sad_negative", "horror": "film_horror_negative", "comedy": "film_comedy_negative"}
CONTROL = "nature"
FILE = "films.csv"
_AFTER = 1
"""The wave right after the film."""


def films() -> pd.DataFrame:
    """A randomised experiment with films, one row per person: person, film, before, extraversion, and ten adjectives rated 0 to 3.

    Raises
    ------
    InputError : the bundled tables are missing, as in an installation without a clone.
    """
    import pandas as pd

    parts = []
    for film, tab in FILMS.items():
        table = load_bundled(tab, data_folder())
        parts.append(table[table["wave"] == _AFTER].assign(film=table["treat"].map({0: CONTROL, 1: film})))
    # the film about nature is the control of all three, with the same persons
    rows = pd.concat(parts).drop_duplicates(["id", "item"])
    rows = rows.rename(columns={"id": "person", "std_baseline": "before", "cov_extraversion": "extraversion"})
    wide = rows.pivot(index=["person", "film", "before", "extraversion"], columns="item", values="resp").reset_index()
    wide.columns.name = None
    items = [name for name in wide.columns if name in set(rows["item"])]
    return wide.rename(columns={name: f"feels_{name}" for name in items}).sort_values("person", ignore_index=True)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory(prefix="ilhte-tutorial-")
    films().to_csv(Path(folder.name) / FILE, index=False)
    return folder


def session(command: str, *, last: int | None = None) -> Markdown:
    """A command and its output in 80 columns, run in a folder with ``films.csv``; at most the first ``last`` lines.

    Raises
    ------
    EngineError : the command fails.
    """
    from IPython.display import Markdown

    try:
        folder = _folder().name
    except InputError:
        return Markdown(code_block(f"$ {command}", "text"))
    words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "ilhte_report.cli", *words[1:]],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{command} ended with {done.returncode}: {done.stderr}")
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()]
    shown = lines if last is None or len(lines) <= last else [*lines[:last], "…"]
    return Markdown(code_block("\n".join([f"$ {command}", *shown]), "text"))
