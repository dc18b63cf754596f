"""Locations: the project's folder, the run that its pages read, and safe file names for tables."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from ilhte_lib.errors import InputError

SOURCES = Path(__file__).parent / "sources"
"""The site's sources inside an installed package; absent if the package is used from a clone."""
MARK = ".ilhte-project"
"""The file that distinguishes a project of ilhte from any other Quarto website."""
OWN_TRIALS = "trials.toml"
"""The file of trials in a project created by ``ilhte init``, whose mark names it."""
_LONGEST = 60
_RESERVED = {"con", "prn", "aux", "nul", "index"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}


def find_project(start: Path | str | None = None) -> Path:
    """The nearest folder at or above `start` (default: the current folder) that bears the mark of a project of ilhte.

    Other Quarto websites, with their own `_quarto.yml` and `index.qmd`, are ignored, because rendering would write into them.
    Raises `InputError` if there is no project.
    """
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / MARK).is_file() and (folder / "_quarto.yml").is_file():
            return folder
    raise InputError(
        f"There is no project of ilhte at or above {start} (a folder with the file {MARK}): change to a clone of the project."
    )


def own_trials(project: Path) -> Path | None:
    """The file of trials of a project created by ``ilhte init``; None in the project of the bundled collection."""
    mark, trials = project / MARK, project / OWN_TRIALS
    return trials if trials.is_file() and OWN_TRIALS in mark.read_text(encoding="utf-8", errors="replace") else None


def data_folder() -> Path | None:
    """The project's ``data`` folder, else the installed one; None if there is neither (simulated tables need none)."""
    try:
        project = find_project()
        if own_trials(project) is None:
            return project / "data"
    except InputError:
        pass
    # an editable installation has the data beside the package, other installations inside it
    places = (Path(__file__).resolve().parents[1] / "data", SOURCES / "data")
    return next((folder for folder in places if (folder / "catalogue.csv").is_file()), None)


def latest_run(project: Path) -> Path:
    """The run folder that pages read: `ILHTE_RUN` (absolute, or relative to the project) if set, else the one named in
    `results/latest.json`.

    Raises `InputError` if it does not exist.
    """
    chosen = os.environ.get("ILHTE_RUN")
    if chosen:
        run = (project / chosen).resolve()
        if not run.is_dir():
            raise InputError(f"ILHTE_RUN names the folder {run}, which does not exist: correct or unset the variable.")
        return run
    pointer = project / "results" / "latest.json"
    try:
        name = json.loads(pointer.read_text(encoding="utf-8"))["run"]
    except FileNotFoundError:
        raise InputError("There is no run yet: `ilhte run` (or `make site`) computes one.") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{pointer} does not name a run: delete it and call `ilhte run`.") from None
    run = pointer.parent / str(name)
    if not run.is_dir():
        raise InputError(f"{pointer} names the run {name!r}, which does not exist any more: call `ilhte run`.")
    return run


def slug(name: str) -> str:
    """A file name (without suffix) for a table called `name`, whatever the name contains.

    It consists of lower-case ASCII letters, digits, `_` and `-`, has at most 71 characters, and is never empty, hidden, reserved
    on Windows or ignored by Quarto (which skips names that begin with `_`). A name that had to be changed gets a hash of the
    original, and so does a name that looks as if it ended in such a hash: different names never share a file, not even
    on file systems that ignore case.
    """
    safe = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:_LONGEST].rstrip("-_")
    if safe == name and safe and safe not in _RESERVED and not re.search(r"-[0-9a-f]{10}$", safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{safe or 'table'}-{digest}"
