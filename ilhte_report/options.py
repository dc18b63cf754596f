"""The options of the data on the command line: every command that reads a table takes the same ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer

from ilhte_lib.data.options import DataOptions


class Profile(StrEnum):
    """Rules of preparation."""

    full = "full"
    vignette = "vignette"


class Steps(StrEnum):
    """Which items share the steps between their categories."""

    rating = "rating"
    partial = "partial"


class Repeated(StrEnum):
    """What several rows of one person and item are."""

    error = "error"
    trials = "trials"


_PANEL = "Columns of the file"


def _option(text: str, *names: str, kind: Any = str | None, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, **more)]


def _column(text: str, *names: str, **more: Any) -> Any:
    return _option(text, *names, rich_help_panel=_PANEL, **more)


_FLAG, _LIST = bool, list[str] | None

OPTIONS: dict[str, Any] = {
    "profile": _option("Rules of preparation: the published vignette's, or the fuller ones.", kind=Profile),
    "max_persons": _option(
        "Randomly sample at most this many persons; 0 for all. Default 5000 under vignette, all under full.",
        kind=int | None,
        min=0,
    ),
    "covariate": _option(
        "The covariate's column; default std_baseline, else the best cov_* column.", "--covariate", "--pretest"
    ),
    "wave": _option("The wave to keep; default the first after randomisation, where that can be determined."),
    "repeated": _option("Several rows of one person and item: an error, or further trials.", kind=Repeated),
    "categories": _option(
        'Labels of ordered categories, the lowest first, separated by commas: "never, sometimes, often".',
        kind=_LIST,
        metavar="LABELS",
    ),
    "threshold": _option(
        "Take responses of at least this much as 1, others as 0. Default: ordered categories.", kind=float | None
    ),
    "steps": _option(
        "Steps between ordered categories: shared by items with as many categories (rating), or each item's own (partial).",
        kind=Steps,
    ),
    "item_covariates": _option(
        "A file with a column item and covariates of the items, numbers or labels: do they explain for which items the effect "
        "is large? Default: the table's columns itemcov_*.",
        metavar="FILE",
    ),
    "pretest_from_wave": _option(
        "Take the persons' scores on the same items at this earlier wave as covariate.", metavar="WAVE"
    ),
    "arms": _option(
        "Of a table with three or more arms and a --control, the arms to compare with it, separated by commas. Default: all.",
        kind=_LIST,
        metavar="LABELS",
    ),
    "contrast": _option(
        "Of a covariate with labels, the label to compare with the others; default, of two labels, the second with the first.",
        metavar="LABEL",
    ),
    "lower_is_better": _option(
        "A response of 1, or a high score, is bad (symptoms); changes the wording only.",
        "--lower-is-better",
        kind=_FLAG,
    ),
    "missing_codes": _option(
        "Codes that mean a missing response, arm or covariate, as in -99,999; none takes every number as it is. "
        "Default: only codes that stand apart from a covariate's other values.",
        "--missing-codes",
        kind=_LIST,
        metavar="CODES",
    ),
    "id": _column("Column of persons.", kind=str),
    "item": _column("Column of items.", kind=str),
    "resp": _column("Column of responses: 0/1, or ordered categories.", kind=str),
    "treat": _column("Column of arms.", kind=str),
    "wave_column": _column("Column of waves.", kind=str),
    "control": _column("The value of the arms' column that means control."),
    "wide": _column(
        "The file has one row a person: its item columns, by name or pattern; can be given several times.", kind=_LIST
    ),
    "cluster": _column(
        "Column of clusters (schools, villages), for which the models then have random effects; default cluster, if there is one."
    ),
    "cluster_effects": _column(
        "Clusters that hold both arms (sites) may differ in the effect, not in their level alone.",
        "--cluster-effects",
        kind=_FLAG,
    ),
    "ignore_clusters": _column(
        "Leave clusters out of the models, which then treat persons as independent.", "--ignore-clusters", kind=_FLAG
    ),
    "id_within_cluster": _column(
        "Ids are unique within clusters only: a person is identified by cluster and id.",
        "--id-within-cluster",
        kind=_FLAG,
    ),
    "sheet": _column("The sheet of an Excel file, by name or number; default the first."),
    "header_row": _column(
        "The row of an Excel or text file that holds the columns' names; default the first that is not empty.",
        kind=int | None,
        min=1,
    ),
}
"""By the name each has in ``DataOptions``."""


def takes_data_options(*, without: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """A command with a parameter ``data: DataOptions`` as one that has its options instead, which Typer understands."""
    names = [name for name in OPTIONS if name not in without]
    defaults = {field.name: field.default for field in fields(DataOptions)}

    def decorate(command: Callable) -> Callable:
        @wraps(command)
        def called(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in names}
            plain = {
                k: v.value if isinstance(v, StrEnum) else tuple(v) if isinstance(v, list) else v
                for k, v in chosen.items()
            }
            plain = {name: None if value == () else value for name, value in plain.items()}
            return command(**given, data=DataOptions(**plain))

        own = inspect.signature(command, eval_str=True).parameters
        enums = {"profile": Profile.full, "repeated": Repeated.error, "steps": Steps.rating}
        more = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=enums.get(name, defaults[name]), annotation=OPTIONS[name]
            )
            for name in names
        ]
        kept = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.values() if p.name != "data"]
        called.__signature__ = inspect.Signature([*kept, *more])
        called.__annotations__ = {p.name: p.annotation for p in (*kept, *more)}
        del called.__wrapped__
        return called

    return decorate
