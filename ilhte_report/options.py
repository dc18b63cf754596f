"""The data options of the command line, shared by all commands that read a table."""

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
    """How several rows of one person and item are treated."""

    error = "error"
    trials = "trials"


_PANEL = "Columns of the file"


def _option(text: str, *names: str, kind: Any = str | None, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, **more)]


def _column(text: str, *names: str, **more: Any) -> Any:
    return _option(text, *names, rich_help_panel=_PANEL, **more)


_FLAG, _LIST = bool, list[str] | None

OPTIONS: dict[str, Any] = {
    "profile": _option("Rules of preparation: those of the published vignette, or fuller ones.", kind=Profile),
    "max_persons": _option(
        "Randomly sample at most this many persons; 0 for all. Default: 5000 under vignette, all under full.",
        kind=int | None,
        min=0,
    ),
    "covariate": _option(
        "Column of the covariate. Default: std_baseline, else the cov_* column most correlated with the responses.",
        "--covariate",
        "--pretest",
    ),
    "wave": _option("Wave to keep. Default: the first after randomisation, if that can be determined."),
    "repeated": _option("Treat several rows of one person and item as an error, or as repeated trials.", kind=Repeated),
    "categories": _option(
        'Labels of ordered categories, the lowest first, separated by commas: "never, sometimes, often".',
        kind=_LIST,
        metavar="LABELS",
    ),
    "threshold": _option(
        "Count responses of at least this value as 1, others as 0. Default: keep ordered categories.", kind=float | None
    ),
    "steps": _option(
        "Steps between ordered categories: shared by items with the same number of categories (rating), or separate for each item (partial).",
        kind=Steps,
    ),
    "item_covariates": _option(
        "File with a column item and covariates of the items (numbers or labels) that may explain for which items the effect "
        "is large. Default: the table's columns itemcov_*.",
        metavar="FILE",
    ),
    "pretest_from_wave": _option(
        "Use the persons' scores on the same items at this earlier wave as covariate.", metavar="WAVE"
    ),
    "arms": _option(
        "With three or more arms: the arms to compare with the --control, separated by commas. Default: all.",
        kind=_LIST,
        metavar="LABELS",
    ),
    "contrast": _option(
        "If the covariate consists of labels: the label to compare with the others. Default, with two labels: the second.",
        metavar="LABEL",
    ),
    "lower_is_better": _option(
        "A response of 1, or a high score, is bad (symptoms); changes the wording only.",
        "--lower-is-better",
        kind=_FLAG,
    ),
    "missing_codes": _option(
        "Codes for missing responses, arms or covariates, such as -99,999; none treats every number as a value. "
        "Default: only codes that lie far from a covariate's other values.",
        "--missing-codes",
        kind=_LIST,
        metavar="CODES",
    ),
    "id": _column("Column of persons.", kind=str),
    "item": _column("Column of items.", kind=str),
    "resp": _column("Column of responses: 0/1, or ordered categories.", kind=str),
    "treat": _column("Column of arms.", kind=str),
    "wave_column": _column("Column of waves.", kind=str),
    "control": _column("Value of the arm column that means control."),
    "wide": _column(
        "Item columns of a file with one row per person, by name or pattern; can be given several times.", kind=_LIST
    ),
    "cluster": _column(
        "Column of clusters (schools, villages), for which the models have random effects. Default: a column named cluster."
    ),
    "cluster_effects": _column(
        "Let clusters that contain both arms (sites) differ in the effect, not only in level.",
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
    "sheet": _column("Sheet of an Excel file, by name or number. Default: the first."),
    "header_row": _column(
        "Row with the column names in an Excel or text file. Default: the first non-empty row.",
        kind=int | None,
        min=1,
    ),
}
"""The options by their names in ``DataOptions``."""


def takes_data_options(*, without: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """Decorate a command with a parameter ``data: DataOptions`` so that Typer sees the single options instead."""
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
