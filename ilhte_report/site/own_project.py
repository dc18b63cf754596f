"""Creating a user's own project (``ilhte init``): data, a file of trials, a page to write, and what renders and publishes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ilhte_lib.data.file_formats import format_of
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.read import source_name
from ilhte_lib.errors import InputError
from ilhte_lib.manifest import MANIFEST, Manifest, is_untouched, read_manifest
from ilhte_lib.model.simulate import Design, simulate_trial

from ..intake.columns import look
from ..intake.preparation import goes_out_of_core, prepared
from ..intake.source import source
from ..project import MARK, OWN_TRIALS, SOURCES, slug

if TYPE_CHECKING:
    import pandas as pd

STARTER = Path(__file__).parent / "starter"
EXAMPLE = Design(n_persons=400, n_items=12, seed=20_261_127, gamma=0.7, rho=-0.5, missing=0.03)
"""The simulated trial in a new project created without a table."""
_REMEDY = "name an empty or a new folder."
_MARK_TEXT = f"This folder is a project of ilhte about the trials in {OWN_TRIALS}: `ilhte render` writes its site (assets/, tables/, _site/) here.\n"
_TRIALS_TEXT = """\
# The tables to be analysed, and how to read each of them. Every data option of `ilhte fit` can be used here.

[[trial]]
"""


def options_of(table: Path, given: DataOptions) -> DataOptions:
    """The options given for a table, completed by a guess from its columns.

    Raises
    ------
    InputError : the table cannot be read.
    """
    guess = look(table, sheet=given.sheet, header_row=given.header_row).guess
    return DataOptions.of(guess.changed() | given.changed())


def refusal_of(table: Path, options: DataOptions) -> str | None:
    """The reason why a table cannot be fitted with these options; None if it can."""
    where = source(str(table))
    if goes_out_of_core(where, options):
        return None  # a file this large is checked when it is fitted
    try:
        prepared(where, options)
    except InputError as refused:
        return str(refused)
    return None


def make_project(
    folder: Path,
    table: Path | None = None,
    options: DataOptions | None = None,
    *,
    edited: Callable[[Path], None] = lambda path: None,
) -> Path:
    """Create a project in an empty or new folder, or restore missing files in a project created before.

    Parameters
    ----------
    folder : the project's folder.
    table : the file of a trial, which is copied to ``data/`` and entered in ``trials.toml`` with its options; None for a
        simulated example.
    options : the options of the table, from ``options_of``; None for a guess.
    edited : called with the path of each file that was edited since it was created, and is kept.

    Raises
    ------
    InputError : the folder contains something else, or the table cannot be read.
    """
    files = _files(table, options)
    written = read_manifest(folder)
    if written is not None and MARK not in written and any(path.name != MANIFEST for path in folder.iterdir()):
        raise InputError(f"{folder} is a folder of ilhte, but not a project: {_REMEDY}")
    manifest = Manifest.open(folder, _REMEDY)
    for name, content in files.items():
        target = folder / name
        if target.exists() and not is_untouched(folder, name):
            edited(target)
            continue
        manifest.write(name, content)
    return folder


def _files(table: Path | None, options: DataOptions | None) -> dict[str, bytes]:
    """Name -> content of all files of a new project."""
    sources = _sources()
    if table is None:
        data_name, data, options = "data/example.csv", _example().to_csv(index=False).encode(), DataOptions()
        title = "A simulated example"
    else:
        options, data = options or options_of(table, DataOptions()), table.read_bytes()
        title = source_name(table)
        data_name = f"data/{slug(title)}{format_of(table.name)}"
    files = {
        MARK: _MARK_TEXT.encode(),
        data_name: data,
        OWN_TRIALS: (_TRIALS_TEXT + _trial(data_name, title, options)).encode(),
        "_quarto.yml": _config(sources).encode(),
        "references.bib": (sources / "references.bib").read_bytes(),
        "index.qmd": (STARTER / "index.qmd").read_bytes(),
        "README.md": (STARTER / "README.md").read_bytes(),
        ".gitignore": (STARTER / "gitignore").read_bytes(),
        ".github/workflows/publish.yml": (STARTER / "publish.yml").read_bytes(),
    }
    for path in sorted((sources / "site").iterdir()):
        if path.is_file():
            files[f"site/{path.name}"] = path.read_bytes()
    return files


def _sources() -> Path:
    """The sources of the site: those installed with the package, or those of the clone that contains the package."""
    for folder in (SOURCES, Path(__file__).resolve().parents[2]):
        if (folder / MARK).is_file() and (folder / "site").is_dir():
            return folder
    raise InputError("The sources of the site are missing: install ilhte again.")


def _example() -> pd.DataFrame:
    return simulate_trial(EXAMPLE)[0]


def _config(sources: Path) -> str:
    """The site's configuration: its own pages and title, and the appearance of the sources."""
    common = yaml.safe_load((sources / "_quarto.yml").read_text(encoding="utf-8"))
    common["project"]["render"] = ["/*.qmd", "/tables/*.ipynb"]
    common["website"] = {
        "title": "A trial, item by item",
        "search": True,
        "navbar": {"left": [{"href": "index.qmd", "text": "Report"}]},
    }
    common["bibliography"] = ["references.bib"]
    return yaml.safe_dump(common, sort_keys=False, allow_unicode=True)


def _trial(file: str, name: str, options: DataOptions) -> str:
    """A trial in TOML, where quoted strings are written as in JSON."""
    values: dict[str, Any] = {"file": file, "name": re.sub(r"[\x00-\x1f\x7f]", " ", name), **options.changed()}
    return "".join(
        f"{key.replace('_', '-')} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )
