"""The state of the page: the chosen table, and the fitted table with its downloads."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from ilhte_lib.analysis import Analysis
from ilhte_lib.data.file_formats import FORMATS, format_of
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.read import source_name
from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json

from ..intake.columns import Columns, look
from ..intake.source import IRW_PREFIX, Source, source
from ..pages.section import Section
from ..pages.single import single_page
from ..project import slug
from ..site.downloads import csv_text


@dataclass(frozen=True)
class Table:
    """A table that was chosen.

    Attributes
    ----------
    where : its source, named as in a command: by its path, or the name of the uploaded file.
    columns : the columns of its file; None for a bundled table.
    options : how to read its file: sheet, row with the column names.
    """

    where: Source
    columns: Columns | None
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A fitted table with its sections."""

    table: Table
    data: DataOptions
    bootstrap: int
    analysis: Analysis
    sections: list[Section]

    def report(self) -> str:
        """The report of ``ilhte fit --html``."""
        return single_page(self.table.where.tab, self.sections)

    def document(self) -> str:
        """The document of ``ilhte fit --json``."""
        return to_json(self.analysis.document())

    def tables(self) -> bytes:
        """A zip archive of CSV files: summary, items, models, intervals, and all tables shown on the page."""
        files = {}
        for name in ("summary", "items", "models", "intervals"):
            frame = getattr(self.analysis, name)
            files[f"{name}.csv"] = csv_text(frame.to_dict("records"), list(frame.columns))
        for section in self.sections:
            if section.rows:
                name = slug(section.title.lower().replace(" ", "-").strip("?"))
                files[f"shown/{name}.csv"] = csv_text(section.rows, list(section.rows[0]))
        return zipped({name: text.encode() for name, text in files.items()})


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive of files by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def dropped(name: str, content: Path, folder: Path) -> Source:
    """The source of an uploaded file, moved to ``folder`` under a safe name.

    Its ``name`` is the user's name of the file.

    Raises
    ------
    InputError : the format is unknown.
    """
    called = os.path.basename(name.replace("\\", "/"))
    ending = format_of(called)
    if not ending:
        raise InputError(f"{called} is in an unknown format: save the table as one of {', '.join(FORMATS)}.")
    tab = source_name(called) or "table"
    target = folder / f"{slug(tab)}{ending}"
    shutil.move(content, target)
    return replace(source(str(target), tab), name=called)


def named(name: str) -> Source:
    """The source of a path on this machine, or of a bundled table; nothing is downloaded.

    Raises
    ------
    InputError : there is no such table.
    """
    name = name.strip().strip("\"'")
    if name.startswith(IRW_PREFIX):
        from ..intake.irw.tables import cached

        if cached(name.removeprefix(IRW_PREFIX)) is None:
            raise InputError(f"{name} is not on this machine, and this page downloads nothing: use `ilhte fetch`.")
    return replace(source(os.path.expanduser(name)), name=name)


def looked_at(where: Source, options: dict[str, object]) -> Table:
    """The table of a source, at the place in the file given by ``options`` (sheet, header_row).

    Raises
    ------
    InputError : it cannot be read with these options.
    """
    if where.path is None:
        return Table(where, None)
    data = DataOptions.of(options)
    return Table(where, look(where.path, sheet=data.sheet, header_row=data.header_row), options)
