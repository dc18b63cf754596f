"""How a table is to be read and prepared: one object for the command line, a run, a notebook and Python."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from ..messages import quoted


@dataclass(frozen=True)
class DataOptions:
    """Every option of the data that ``ilhte fit`` has, by the name it has there.

    Attributes
    ----------
    id, item, resp, treat, wave_column : names of the columns.
    control : the value of ``treat`` that means control; None where it holds 0 and 1.
    wide : item columns of a file with one row a person, by name or pattern; None for a long one.
    cluster : column of clusters; None for ``cluster``, if there.
    id_within_cluster : ids are unique within a cluster only.
    cluster_effects, ignore_clusters : of ``prepare.prepare``.
    sheet, header_row : where a spreadsheet has its table, ``read.read_table``.
    missing_codes : numbers or words that mean missing, ``missing_codes.named_codes``.
    covariate, wave, repeated, profile, max_persons : of ``prepare.prepare``.
    categories, threshold, steps : of ``prepare.prepare``.
    item_covariates : a file with a column ``item`` and covariates of the items, ``item_file.with_item_covariates``; None
        for the table's ``itemcov_*`` columns.
    pretest_from_wave : the wave whose scores on the same items are the covariate, ``design.prepare_design``.
    arms : of a table with three or more and a named control, those that are compared with it, ``design.prepare_design``; None
        for all.
    contrast : of ``prepare.prepare``.
    lower_is_better : a response of 1 is bad; changes the wording of results only.
    """

    id: str = "id"
    item: str = "item"
    resp: str = "resp"
    treat: str = "treat"
    wave_column: str = "wave"
    control: str | None = None
    wide: tuple[str, ...] | None = None
    cluster: str | None = None
    id_within_cluster: bool = False
    cluster_effects: bool = False
    ignore_clusters: bool = False
    sheet: str | None = None
    header_row: int | None = None
    missing_codes: tuple[str, ...] | None = None
    covariate: str | None = None
    wave: str | None = None
    repeated: str = "error"
    profile: str = "full"
    max_persons: int | None = None
    categories: tuple[str, ...] | None = None
    threshold: float | None = None
    steps: str = "rating"
    item_covariates: str | None = None
    pretest_from_wave: str | None = None
    arms: tuple[str, ...] | None = None
    contrast: str | None = None
    lower_is_better: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str = "the options") -> DataOptions:
        """From names and values as a file or a notebook has them: numbers for text, one value for a list.

        Raises
        ------
        InputError : an unknown name, or a value of another kind.
        """
        known = {field.name: str(field.type) for field in fields(cls)}
        given = {str(name).replace("-", "_"): value for name, value in options.items()}
        given = {"covariate" if name == "pretest" else name: value for name, value in given.items()}
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
                raise InputError(f"Option {quoted(name)} of {where} is not known: {hint}")
        return cls(**{name: _fitting(name, known[name], value, where) for name, value in given.items()})

    def changed(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON has it."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @property
    def columns(self) -> dict[str, Any]:
        """The options of ``read_table``."""
        same = ("id", "item", "resp", "treat", "control", "wide", "cluster", "sheet", "header_row", "missing_codes")
        return {**{name: getattr(self, name) for name in same}, "wave": self.wave_column, "pretest": self.covariate}

    @property
    def rules(self) -> dict[str, Any]:
        """The options of ``prepare``."""
        same = ("profile", "covariate", "wave", "max_persons", "repeated", "cluster", "id_within_cluster", "cluster_effects",
                "ignore_clusters", "missing_codes", "categories", "threshold", "steps", "arms", "contrast")  # fmt: skip
        return {name: getattr(self, name) for name in same}

    @property
    def rules_out_of_core(self) -> dict[str, Any]:
        """The options of ``large_trial``."""
        same = ("id", "item", "resp", "treat", "wave_column", "covariate", "wave", "cluster", "ignore_clusters", "missing_codes",
                "categories", "threshold", "steps")  # fmt: skip
        return {name: getattr(self, name) for name in same}


def _fitting(name: str, kind: str, value: Any, where: str) -> Any:
    """A value as its field has it."""
    if value is None:
        return None
    if "tuple" in kind:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(str(one) for one in values)
    wanted: type | tuple[type, ...] = (
        bool if "bool" in kind else int if "int" in kind else (int, float) if "float" in kind else (str, int, float)
    )
    if not isinstance(value, wanted) or (isinstance(value, bool) and "bool" not in kind):
        raise InputError(
            f"Option {quoted(name)} of {where} is {quoted(str(value))}: give {_KINDS[kind.split(' ')[0]]}."
        )
    return f"{value:.15g}" if "str" in kind and isinstance(value, float) else str(value) if "str" in kind else value


_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a word or a number"}
