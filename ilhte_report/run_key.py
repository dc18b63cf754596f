"""What the result of one table depends on: a table whose key is unchanged need not be fitted again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ilhte_lib
from ilhte_lib.document import versions
from ilhte_lib.errors import InputError

from .project import find_project
from .source import Source

PAGE_MODULES = (
    "embed",
    "irw_client",
    "irw_tables",
    "irw_trouble",
    "markdown",
    "project",
    "source",
    "table_page",
    "wording",
)
"""The modules of this package that the notebook of one table imports."""


@dataclass(frozen=True)
class Settings:
    """How every table of a run is analysed."""

    profile: str = "full"
    engine: str = "native"
    max_persons: int | None = None


def fit_notebook() -> Path:
    """The notebook of one table: the project's own, or the copy that is installed with the package."""
    try:
        return find_project() / "notebooks" / "fit_table.ipynb"
    except InputError:
        here = Path(__file__).parent
        installed = here / "notebooks" / "fit_table.ipynb"
        # an editable installation has no copy: the clone's own notebook is beside the package
        return installed if installed.is_file() else here.parent / "notebooks" / "fit_table.ipynb"


def code_sha256(engine: str) -> str:
    """Hash of the code that computes and describes a result, and of the versions of the packages it stands on."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for file in (*sorted(Path(ilhte_lib.__file__).parent.glob("*.py")), *(package / f"{m}.py" for m in PAGE_MODULES)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    others = ("pandas", "plotly") if engine == "native" else ("pandas", "plotly", "pymer4", "rpy2")
    digest.update(json.dumps([versions(), [_version(name) for name in others]], sort_keys=True).encode())
    return digest.hexdigest()


def table_key(source: Source, settings: Settings, notebook: str, code: str) -> str:
    """Hash of everything the result of ``source`` depends on; ``notebook`` is its text, ``code`` a ``code_sha256``."""
    parts = [source.tab, source.name, source.sha256, asdict(settings), notebook, code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
