"""Selection of the items that can be analysed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from .identifiers import natural_key
from .missing_codes import perhaps_codes
from .scores import refuse_unscorable, unused
from .trial import Audit

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ITEMS = 3


def keep_items(
    table: pd.DataFrame, tab: str, named_codes: bool, audit: Audit
) -> tuple[pd.DataFrame, dict[object, tuple[float, ...]]]:
    """The rows of items whose responses are ordered categories, and each item's categories (values, ascending).

    If no item has more than two values they must be 0 and 1, for which of 1 and 2 means yes cannot be known.

    Parameters
    ----------
    named_codes : whether the user named codes for missing, or said there are none; then no value is suspected.

    Raises
    ------
    InputError : there are no responses, too few items, fractions, more than ten categories, or binary items not coded 0/1.
    """
    found = (
        table.drop_duplicates(["item", "resp"]).sort_values("resp", kind="stable").groupby("item", sort=False)["resp"]
    )
    values = {item: tuple(float(v) for v in of_item) for item, of_item in found}
    values = {item: values[item] for item in sorted(values, key=lambda item: natural_key(str(item)))}
    several = {item: of_item for item, of_item in values.items() if len(of_item) > 2}
    labels = table.attrs.get("value_labels", {}).get("resp", {})
    suspect = {} if named_codes else {i: v for i, v in several.items() if perhaps_codes(v, labels, ordered=True)}
    ordered = {item: of_item for item, of_item in several.items() if item not in suspect}
    if not ordered:
        table = keep_binary_items(table, tab, False, audit)
        return table, {item: values[item] for item in table["item"].unique()}
    refuse_unscorable(ordered, tab)
    constant = [item for item, of_item in values.items() if len(of_item) == 1]
    every = {v for of_item in ordered.values() for v in of_item}
    odd = [i for i, v in values.items() if len(v) == 2 and v != (0.0, 1.0) and not set(v) <= every]
    if odd:
        which = counted(
            len(odd), f"item of table {quoted(tab)} has two values", f"items of table {quoted(tab)} have two values"
        )
        raise InputError(
            f"{which} that are neither 0 and 1 nor values of the other items ({_values(table, odd, labels)}): recode them so that "
            "1 is the response modelled."
        )
    if len(values) - len(constant) - len(suspect) < FEWEST_ITEMS:
        raise InputError(
            f"Table {quoted(tab)} has {counted(len(values) - len(constant) - len(suspect), 'item', 'items')} with ordered categories, but "
            f"at least {FEWEST_ITEMS} are needed: add items with varying responses."
        )
    table = audit.keep(
        table, ~table["item"].isin(constant), "items", f"Items with a single value: {listed(map(str, constant), 3)}."
    )
    if suspect:
        codes = perhaps_codes(sorted({v for of_item in suspect.values() for v in of_item}), labels, ordered=True)
        codes = codes or perhaps_codes(next(iter(suspect.values())), labels, ordered=True)
        reason = f"{counted(len(suspect), 'item is', 'items are')} left out ({_values(table, list(suspect), labels)}): {codes}."
        audit.flags.append(reason)
        table = audit.keep(table, ~table["item"].isin(list(suspect)), "items", reason)
    kept = {item: of_item for item, of_item in values.items() if item not in suspect and len(of_item) > 1}
    if gaps := unused(kept):
        audit.note("items", gaps, flag=True)
    if binary := sum(len(of_item) == 2 for of_item in kept.values()):
        more = [item for item, of_item in kept.items() if len(of_item) > 2]
        reason = (
            f"{counted(len(more), 'item has', 'items have')} more than two values ({_values(table, more, labels)}), modelled as ordered "
            f"categories alongside {counted(binary, 'item', 'items')} with two."
        )
        audit.note("items", reason, flag=True)
    return table, kept


def keep_binary_items(table: pd.DataFrame, tab: str, vignette: bool, audit: Audit) -> pd.DataFrame:
    """The rows of items with two values, which must be 0 and 1.

    Raises
    ------
    InputError : there are no responses or too few binary items, or some are not coded 0/1.
    """
    labels = table.attrs.get("value_labels", {}).get("resp", {})
    if table.empty:
        raise InputError(
            f"Table {quoted(tab)} has no responses at all: check the column of responses, or, for a spreadsheet whose "
            "formulas were never computed, open it once and save it."
        )
    values = table.groupby("item", sort=False)["resp"].agg(["nunique", "min", "max"])
    values = values.loc[sorted(values.index, key=lambda item: natural_key(str(item)))]
    constant = values.index[values["nunique"] == 1]
    polytomous = values.index[values["nunique"] > 2]
    binary = values.index[values["nunique"] == 2]
    if len(binary) < FEWEST_ITEMS:
        found = []
        if len(constant):
            found.append(
                f"{counted(len(constant), 'item holds', 'items hold')} a single value: {listed(map(str, constant), 3)}"
            )
        if len(polytomous):
            found.append(f"{len(polytomous)} more than two values: {_values(table, polytomous, labels)}")
        others = f" ({', '.join(found)})" if found else ""
        remedy = "recode polytomous items to 0/1" if len(polytomous) else "add items that some solve and others do not"
        raise InputError(
            f"Table {quoted(tab)} has {counted(len(binary), 'binary item', 'binary items')}, but at least {FEWEST_ITEMS} are needed"
            f"{others}: {_codes(table, polytomous, labels) or remedy}."
        )
    odd = values.loc[binary]
    odd = odd.index[(odd["min"] != 0) | (odd["max"] != 1)]
    if len(odd):
        remedy = (
            "lme4 cannot fit such a table, so the vignette drops it"
            if vignette
            else "recode them so that 1 is the response modelled"
        )
        if codes := _codes(table, odd, labels):
            remedy = f"{codes}; otherwise {remedy}"
        which = counted(len(odd), f"binary item of table {quoted(tab)} is", f"binary items of table {quoted(tab)} are")
        raise InputError(f"{which} not coded 0/1 ({_values(table, odd, labels)}): {remedy}.")
    table = audit.keep(
        table, ~table["item"].isin(constant), "items", f"Items with a single value: {listed(map(str, constant), 3)}."
    )
    if len(polytomous):
        codes = _codes(table, polytomous, labels)
        reason = (
            f"{counted(len(polytomous), 'item with more than two values is', 'items with more than two values are')} left out "
            f"({_values(table, polytomous, labels)}): "
            + (
                f"{codes}; otherwise recode them to 0/1 to keep them."
                if codes
                else "to keep them, recode their responses to 0/1, or empty the cells that hold a code for missing."
            )
        )
        audit.flags.append(reason)
        table = audit.keep(table, ~table["item"].isin(polytomous), "items", reason)
    return table


def _values(table: pd.DataFrame, items: Sequence, labels: Mapping) -> str:
    """The first items and their values, for a message."""
    texts = {str(code).removesuffix(".0"): label for code, label in labels.items()}

    def shown(item: object) -> str:
        values = [f"{v:g}" for v in sorted(table.loc[table["item"] == item, "resp"].unique())]
        labelled = [f"{v} ({texts[v]})" if v in texts else v for v in values[:5]]
        return f"item {quoted(str(item))} holds {', '.join(labelled)}{', ...' if len(values) > 5 else ''}"

    return "; ".join(map(shown, items[:3])) + ("; ..." if len(items) > 3 else "")


def _codes(table: pd.DataFrame, items: Sequence, labels: Mapping) -> str:
    return perhaps_codes(sorted(table.loc[table["item"].isin(items), "resp"].unique()), labels)


def note_items_of_one_arm(names: Sequence[str], answers: np.ndarray, audit: Audit) -> None:
    """Flag items answered in one arm only, whose effects are inferred from the others; ``inference.weak`` has other weaknesses.

    Parameters
    ----------
    names : J items.
    answers : (2, J) responses by arm (control, treated).
    """
    answered = (answers > 0).all(axis=0)
    if answered.any() and not answered.all():
        shown = listed((names[k] for k in np.flatnonzero(~answered).tolist()), 3)
        audit.note(
            "items", f"Items answered in one arm only, whose effects rest on the other items: {shown}.", flag=True
        )
