"""The results of a run as files for download from the site."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS

from ..run.folder import by_arm
from .csv_download import csv_safe

WHOLE_RUN = "run"
"""Folder for the files about the whole run, beside those about single tables."""


def downloads(run: Path) -> dict[str, str]:
    """Name -> text: `<slug>.json` and `<slug>.csv` (its items) for each document in `run/fits`, and in the
    folder `run` the summary and the items of all tables."""
    fits = {path.stem: path.read_text(encoding="utf-8") for path in sorted((run / "fits").glob("[!.]*.json"))}
    documents = {name: json.loads(text) for name, text in fits.items()}
    files = {}
    for name, text in fits.items():
        files[f"{name}.json"] = text
        files[f"{name}.csv"] = csv_text([item for of in by_arm(documents[name]) for item in of["items"]], ITEM_COLUMNS)
    if not documents:
        return files
    every = [of for document in documents.values() for of in by_arm(document)]
    summaries = [document["summary"] for document in every]
    items = [item for document in every for item in document["items"]]
    files[f"{WHOLE_RUN}/summary.csv"] = csv_text(summaries, SUMMARY_COLUMNS)
    files[f"{WHOLE_RUN}/items.csv"] = csv_text(items, ITEM_COLUMNS)
    return files


def downloads_section(name: str) -> str:
    """The section of a table's page with its downloads, in Markdown; `name` is the table's slug."""
    return (
        "## Downloads {#downloads}\n\n"
        f"- [Effects of the items]({name}.csv), one row per item (CSV); effects and standard errors in SDs of the persons\n"
        f"- [Everything on this page]({name}.json): summary, items, audit, the four models, versions (JSON)\n"
    )


def csv_text(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header; undefined values are empty fields, and text is made safe for spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_field(row.get(column)) for column in columns])
    return out.getvalue()


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return csv_safe(value) if isinstance(value, str) else value
