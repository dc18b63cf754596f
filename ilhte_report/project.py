"""Where things are: the project's folder, the run its pages read, and safe file names for tables."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from ilhte_lib.errors import InputError

SOURCES = Path(__file__).parent / "sources"
"""The project as an installed package brings it along; absent where the package is a clone's own."""
MARK = ".ilhte-project"
"""The file that tells a project of ilhte from any other Quarto website."""
OWN_TRIALS = "trials.toml"
"""The file of trials in a project of one's own (``ilhte init``), whose mark names it."""
_LONGEST = 60
_RESERVED = {"con", "prn", "aux", "nul", "index"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}


def find_project(start: Path | str | None = None) -> Path:
    """The nearest folder at or above `start` (default: the current one) that bears the mark of a project of ilhte.

    Another Quarto website, with a `_quarto.yml` and an `index.qmd` of its own, is none: rendering would write into it.
    Raises `InputError` if there is none.
    """
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / MARK).is_file() and (folder / "_quarto.yml").is_file():
            return folder
    raise InputError(
        f"There is no project of ilhte at or above {start} (a folder with the file {MARK}): change into a clone of the project."
    )


def own_trials(project: Path) -> Path | None:
    """The file of trials that a project of one's own is about; None in the project of the collection."""
    mark, trials = project / MARK, project / OWN_TRIALS
    return trials if trials.is_file() and OWN_TRIALS in mark.read_text(encoding="utf-8", errors="replace") else None


def data_folder() -> Path | None:
    """The project's ``data`` folder, elsewhere the installed one; None where there is neither (simulated tables need none)."""
    try:
        project = find_project()
        if own_trials(project) is None:
            return project / "data"
    except InputError:
        pass
    # a clone that is installed for editing has its data beside the package, an installed package in it
    places = (Path(__file__).resolve().parents[1] / "data", SOURCES / "data")
    return next((folder for folder in places if (folder / "catalogue.csv").is_file()), None)


def latest_run(project: Path) -> Path:
    """The run folder that pages read: `ILHTE_RUN` (absolute, or relative to the project) if set, else the one that
    `results/latest.json` names.

    Raises `InputError` if it is not there.
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
        raise InputError(f"{pointer} names the run {name!r}, which is gone: call `ilhte run`.")
    return run


def slug(name: str) -> str:
    """A file name (without suffix) for a table called `name`, whatever that name contains.

    Lower-case ASCII letters, digits, `_` and `-` only; at most 71 characters; never empty, hidden, reserved on Windows
    or ignored by Quarto (which skips names that begin with `_`). A name that had to be changed gets a hash of the
    original, and so does a name that merely looks as if it had one: different names never share a file, not even
    where upper and lower case are the same.
    """
    safe = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:_LONGEST].rstrip("-_")
    if safe == name and safe and safe not in _RESERVED and not re.search(r"-[0-9a-f]{10}$", safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{safe or 'table'}-{digest}"
