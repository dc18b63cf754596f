"""Item covariates from a file or table of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError
from ..messages import counted, listed, quoted
from ..model.item_types import ItemCovariate
from .columns import without_blanks
from .contents import Sought
from .file_formats import read_file
from .item_covariates import PREFIX, judged

if TYPE_CHECKING:
    import pandas as pd

    from .trial import PreparedTrial

    AnyTrial = TypeVar("AnyTrial", bound=PreparedTrial)


def with_item_covariates(trial: AnyTrial, source: str | Path | pd.DataFrame | Mapping[str, Any] | None) -> AnyTrial:
    """The trial with item covariates from ``source`` in place of its own.

    Parameters
    ----------
    source : a file or frame with a column ``item`` and one for each covariate, or a mapping {covariate: {item: value}}; None
        leaves the trial as it is.

    Raises
    ------
    InputError : it cannot be read, lacks an item, or has a covariate that is constant, collinear or leaves too few degrees of
        freedom.
    """
    if source is None:
        return trial
    if trial.arms:
        arms = tuple((arm, with_item_covariates(of_arm, source)) for arm, of_arm in trial.arms)
        return replace(trial, item_covariates=arms[0][1].item_covariates, arms=arms)  # type: ignore[type-var]
    table, where = _frame(source)
    if "item" not in table.columns:
        raise InputError(
            f"{where} has no column 'item' (found: {listed(map(str, table.columns), 6)}): name the items in a column item, "
            "and give each of their covariates a column."
        )
    names = [str(name) for name in table.columns if name != "item"]
    if not names:
        raise InputError(f"{where} has only a column item: add a column for each covariate of the items.")
    labels = table["item"].astype(str).str.strip()
    twice = labels[labels.duplicated()]
    if len(twice):
        raise InputError(f"{where} has several rows for item {quoted(twice.iloc[0])}: give each item one row.")
    absent = [name for name in trial.item_names if name not in set(labels)]
    if absent:
        raise InputError(
            f"{where} lacks {counted(len(absent), 'item', 'items')} of table {quoted(trial.tab)} ({listed(absent, 3)}): give every item a row "
            "under its name in the table."
        )
    in_order = table.set_axis(labels).loc[list(trial.item_names)]
    found: list[ItemCovariate] = []
    for column in names:
        name = column.removeprefix(PREFIX) or column
        values = without_blanks(in_order[column]).astype(object).reset_index(drop=True)
        covariate, fault = judged(name, values, trial.item_names, found)
        if fault is not None:
            raise InputError(
                f"Item covariate {quoted(name)} of {where} cannot be used because {fault}: correct or remove it."
            )
        found.append(covariate)
    return replace(trial, item_covariates=tuple(found))  # type: ignore[type-var]


def _frame(source: str | Path | pd.DataFrame | Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    if isinstance(source, (str, Path)):
        path = Path(source)
        return read_file(path, Sought(names={"item": "items"})).table, quoted(path.name)
    if isinstance(source, pd.DataFrame):
        return source.set_axis([str(name) for name in source.columns], axis=1), "The table of item covariates"
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in source.items()})
    return frame.rename_axis("item").reset_index(), "The table of item covariates"
