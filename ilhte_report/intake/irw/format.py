"""Findings of ``irw-validate``, the Item Response Warehouse's own checker, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilhte_lib.messages import listed

from .trouble import one_line

if TYPE_CHECKING:
    import pandas as pd

PLAIN = {
    "id_na": "Some rows name no person.",
    "item_na": "Some rows name no item.",
    "resp_na": "Some responses are missing.",
    "resp_numeric": "Some responses are text, and the IRW takes only numbers.",
    "resp_dtype": "The responses are numbers stored as text.",
    "resp_variation*": "All responses are the same, or none is a number.",
    "resp_ordinal*": "The responses have more than 50 values: is this the right column?",
    "dup_id_item": "Some persons answer an item several times, and no column distinguishes the occasions.",
    "treat_binary*": "The arms are not coded 0 and 1.",
    "sample_floor": "There are fewer than 100 persons, the least the IRW takes.",
    "name_length": "The table's name has more than 40 characters.",
    "name_charset": "The table's name should have only lower-case letters, digits, points and underscores.",
    "multi_scale*": "The items' names begin in several ways: is this one test?",
    "composite_items*": "Some items' names look like those of totals, or of pre- and post-tests.",
    "imputed_values*": "On some items one response makes up more than 60%, which is usual where responses are 0 and 1.",
    "resp_scale_mixed": "The items have different ranges of responses.",
    "resp_scale_nested_support": "The items have different ranges of responses, one within another.",
    "item_scale_outlier": "A few items have another range of responses than the rest.",
    "density*": "Fewer than one in a hundred pairs of person and item have a response.",
    "cov_range": "cov_age holds values that are not ages.",
    "date_numeric*": "The column date is not in seconds.",
    "date_range*": "The column date is too small to be in seconds since 1970.",
    "rt_numeric*": "The response times (rt) are not numbers.",
    "rt_units*": "The response times (rt) are too long to be seconds.",
    "rt_negative*": "Some response times (rt) are negative.",
    "rt_zero*": "Some response times (rt) are exactly 0.",
    "rt_item_level*": "The response times (rt) are of whole sittings, not of single responses.",
    "column_order": "The first columns should be id, item and resp.",
}
_OF_ITS_REPOSITORY = re.compile(r"\s*\((?:irw)?#\d+[^)]*\)")


@dataclass(frozen=True)
class FormatFinding:
    """One finding of the checker: whether the IRW would reject the table for it, and a sentence."""

    refused: bool
    sentence: str


def format_findings(table: pd.DataFrame, tab: str) -> list[FormatFinding] | None:
    """The findings of ``irw-validate``, reasons for rejection first; None if the package is not installed."""
    try:
        from irw_validate import validate_frame
    except ImportError:
        return None
    try:
        # the checker takes names that end in __items for tables of item texts
        report = validate_frame(table, label=tab.removesuffix("__items"), profile="upload")
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # the checker relies on column types that an arbitrary table may not have
        return [FormatFinding(True, f"The checker failed on this table ({one_line(error)}).")]
    ordered = sorted(report.findings, key=lambda finding: finding.severity != "error")
    return [FormatFinding(f.severity == "error", _plain(f.check, f.message, table)) for f in ordered]


def _plain(check: str, message: str, table: pd.DataFrame) -> str:
    if check == "cov_prefix":
        odd = message.partition("): ")[2].split(", ")
        return f"The IRW has no columns called {listed(odd, 6)}: columns that describe persons begin with cov_ there."
    if check == "item_variants":
        return (
            f"Some items' names differ only in punctuation, space or case ({one_line(Exception(_examples(message)))})."
        )
    return PLAIN.get(check) or one_line(Exception(_OF_ITS_REPOSITORY.sub("", message)))


def _examples(message: str) -> str:
    """The names among the checker's words, as ``a || b; c || d``."""
    return message.partition(" items: ")[2].partition(". An IRT model")[0] or message
