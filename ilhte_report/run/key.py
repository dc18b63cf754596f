"""The key of a table's result, which covers everything it depends on: if it is unchanged, the table is not fitted again."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import resolve_name
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import ilhte_lib
from ilhte_lib.errors import InputError
from ilhte_lib.files import sha256_of, versions

from ..project import SOURCES, find_project

if TYPE_CHECKING:
    from ..intake.source import Source

PACKAGES = {"ilhte_lib": Path(ilhte_lib.__file__).parent, "ilhte_report": Path(__file__).parents[1]}

_PARSING = Lock()
"""Held while code is parsed: tables are executed in threads, and Python 3.11 counts the depth of all threads' syntax trees as one
(python/cpython issue 106905), so that now and then a table failed with a SystemError."""

PAGE_REPLICATES = 99
"""Default number of replicates of `ilhte run`: (B + 1) alpha is an integer, and a table takes only a few seconds longer."""


@dataclass(frozen=True)
class Settings:
    """How every table of a run is analysed.

    Attributes
    ----------
    profile, engine, max_persons : settings of the preparation and the fits.
    bootstrap : replicates of each bootstrap; 0 for none.
    seed : seed of the replicates; None for the default seed.
    method : approximation of the likelihood, "auto", "laplace" or "aghq"; None for ``approximation.default_method``.
    options : further data options (``DataOptions.changed``), which a table's own options override.
    """

    profile: str = "full"
    engine: str = "native"
    max_persons: int | None = None
    bootstrap: int = 0
    seed: int | None = None
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def of_table(self, source: Source) -> dict[str, Any]:
        """The notebook's parameters for one table."""
        own = {**self.options, **source.options}
        settings = asdict(self)
        for name in ("profile", "max_persons"):
            settings[name] = own.pop(name, settings[name])
        return {**settings, "options": own, "name": source.tab if source.renamed else None}


def fit_notebook() -> Path:
    """The notebook of one table: the project's own, or the copy installed with the package."""
    name = Path("notebooks") / "fit_table.ipynb"
    with suppress(InputError):
        if (own := find_project() / name).is_file():
            return own
    # an editable installation has no copy, but the clone's notebook is beside the package
    return SOURCES / name if (SOURCES / name).is_file() else Path(__file__).parents[2] / name


def code_sha256(notebook: str, engine: str) -> str:
    """Hash of the code on which a result depends: the notebook, our modules that it imports, and versions of packages."""
    digest = hashlib.sha256(notebook.encode())
    for module, file in sorted(imported_modules(notebook).items()):
        digest.update(module.encode() + b"\0" + file.read_bytes() + b"\0")
    others = ("pandas", "plotly") if engine == "native" else ("pandas", "plotly", "pymer4", "rpy2")
    digest.update(json.dumps([versions(), [_version(name) for name in others]], sort_keys=True).encode())
    return digest.hexdigest()


@cache
def imported_modules(notebook: str) -> dict[str, Path]:
    """Our own modules that a notebook imports, directly or through one another, with their files."""
    found: dict[str, Path] = {}
    waiting = list(_imports(_code(notebook), package=""))
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if file and name not in found:
            found[name] = file
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(file.read_text(encoding="utf-8"), package)
    return found


def directly_imported(notebook: str) -> list[str]:
    """Our own modules that the cells of a notebook import."""
    return sorted({name for name in _imports(_code(notebook), package="") if _file_of(name)})


def _code(notebook: str) -> str:
    cells = json.loads(notebook)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _imports(code: str, package: str) -> Iterator[str]:
    """All modules that code may import, including each name imported from a package, which may be a module."""
    with _PARSING:
        tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _file_of(module: str) -> Path | None:
    package, *rest = module.split(".")
    if package not in PACKAGES:
        return None
    place = PACKAGES[package].joinpath(*rest)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def table_key(source: Source, settings: Settings, code: str) -> str:
    """Hash of everything on which the result of ``source`` depends; ``code`` is a ``code_sha256``."""
    parameters = settings.of_table(source)
    parts = [source.tab, source.name, source.sha256, parameters, code]
    of_items = parameters["options"].get("item_covariates")
    if of_items is not None and Path(of_items).is_file():
        parts.append(sha256_of(of_items))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
