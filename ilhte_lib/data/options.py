"""Options for reading and preparing a table: one object for the command line, runs, notebooks and Python."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from ..messages import quoted


@dataclass(frozen=True)
class DataOptions:
    """The data options of ``ilhte fit``, under the same names.

    Attributes
    ----------
    id, item, resp, treat, wave_column : names of the columns.
    control : the value of ``treat`` that means control; None where it holds 0 and 1.
    wide : item columns of a file with one row per person, by name or pattern; None for a long file.
    cluster : column of clusters; None for a column ``cluster``, if present.
    id_within_cluster : whether ids are unique only within a cluster.
    sheet, header_row : where a spreadsheet has its table; see ``read.read_table``.
    missing_codes : numbers or words that mean missing; see ``missing_codes.named_codes``.
    covariate, contrast, wave, repeated, profile, max_persons, categories, threshold, steps, cluster_effects, ignore_clusters :
        see ``prepare.prepare``.
    item_covariates : a file of item covariates, ``item_file.with_item_covariates``; None for the table's ``itemcov_*`` columns.
    pretest_from_wave : the wave whose scores on the same items are the covariate; see ``design.prepare_design``.
    arms : arms to compare with the named control of a table with three or more; None for all.
    lower_is_better : whether a response of 1 is undesirable; changes only the wording of results.
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
        """From names and values in a file or notebook, where numbers may stand for text and one value for a list.

        Raises
        ------
        InputError : a name is unknown, or a value has the wrong type.
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
        """The options that differ from their defaults, ready for JSON."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @property
    def columns(self) -> dict[str, Any]:
        """Arguments of ``read_table``."""
        same = ("id", "item", "resp", "treat", "control", "wide", "cluster", "sheet", "header_row", "missing_codes")
        return {**{name: getattr(self, name) for name in same}, "wave": self.wave_column, "pretest": self.covariate}

    @property
    def rules(self) -> dict[str, Any]:
        """Arguments of ``prepare``."""
        same = ("profile", "covariate", "wave", "max_persons", "repeated", "cluster", "id_within_cluster", "cluster_effects",
                "ignore_clusters", "missing_codes", "categories", "threshold", "steps", "arms", "contrast")  # fmt: skip
        return {name: getattr(self, name) for name in same}

    @property
    def rules_out_of_core(self) -> dict[str, Any]:
        """Arguments of ``large_trial``."""
        same = ("id", "item", "resp", "treat", "wave_column", "covariate", "wave", "cluster", "ignore_clusters", "missing_codes",
                "categories", "threshold", "steps")  # fmt: skip
        return {name: getattr(self, name) for name in same}


def _fitting(name: str, kind: str, value: Any, where: str) -> Any:
    """A value converted to the type of its field."""
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
