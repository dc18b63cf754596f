"""A researcher's own file as a long table: one row a response, columns id, item, resp and treat.

Naming and shaping only: whether ``resp`` is 0/1 or ``treat`` constant within a person is for ``prepare`` to say.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted
from .file_formats import format_of, read_file

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: str | Path,
    *,
    id: str = "id",
    item: str = "item",
    resp: str = "resp",
    treat: str = "treat",
    wave: str = "wave",
    pretest: str | None = None,
    cluster: str | None = None,
    control: str | None = None,
    wide: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read a file into a long table with columns id, item, resp, treat, then every other column under its own name.

    Types are as read, except that ids and items of CSV and TSV files stay text (``01`` and ``1`` are two persons), those
    of Excel sheets are as the cells hold them, whole-numbered ones of other formats are integers, and categories are
    given as their values.

    Parameters
    ----------
    path : CSV or TSV (also gzipped), Parquet, Stata ``.dta``, SPSS ``.sav``, Excel ``.xlsx`` (first sheet), R ``.rds``.
    id, item, resp, treat, wave : the names these columns have in the file. Another column that bears the standard name
        is left out. Only ``wave`` may be absent.
    pretest, cluster : columns that must be there; they keep their names (give these to ``prepare`` as ``covariate`` and
        ``cluster``).
    control : the value, or value label, of ``treat`` that means control and becomes 0; all other values must be one and
        the same, which becomes 1. Without it ``treat`` stays as it is.
    wide : for a file with one row a person, the item columns by name or by pattern such as ``q*``; ``item`` and ``resp``
        are then not looked for, and a file without ids gets the numbers of its rows.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, has two of one name, or its arms are not two.
    """
    path = Path(path)
    table, labels = read_file(path, text_columns=(id, item))
    where = quoted(path.name)
    for column in table.columns[table.dtypes.map(lambda dtype: hasattr(dtype, "categories"))]:
        table[column] = table[column].astype(table[column].cat.categories.dtype)

    roles = {"id": id, "item": item, "resp": resp, "treat": treat, "wave": wave}
    if wave == "wave" and wave not in table.columns:
        del roles["wave"]
    if wide is not None:
        del roles["item"], roles["resp"]
        if id == "id" and id not in table.columns:
            table.insert(0, "id", range(1, len(table) + 1))
    kept = {role: name for role, name in (("pretest", pretest), ("cluster", cluster)) if name}
    named = roles | kept
    _require(named, list(table.columns), where, is_wide=wide is not None)
    items = _item_columns(wide, list(table.columns), set(named.values()), where) if wide is not None else []

    if control is not None:
        table[treat] = _two_arms(table[treat], labels.get(treat, {}), control, where)
    table = _rename(table, roles, {*items, *kept.values()}, where)
    if wide is not None:
        table = _lengthen(table, items)
    for column in ("id", "item"):
        if table[column].dtype == float and table[column].notna().all() and (table[column] % 1 == 0).all():
            table[column] = table[column].astype("int64")
    first = ["id", "item", "resp", "treat"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def source_name(path: str | Path) -> str:
    """The table's name: the file's name without the ending that tells its format."""
    name = Path(path).name
    return name[: len(name) - len(format_of(name))]


def option_of(role: str) -> str:
    """The option that names a role's column; ``--wave`` itself chooses a wave."""
    return "--wave-column" if role == "wave" else f"--{role}"


def _require(named: dict[str, str], columns: list[str], where: str, is_wide: bool) -> None:
    for name in named.values():
        rivals = [option_of(role) for role, same in named.items() if same == name]
        if len(rivals) > 1:
            raise InputError(
                f"Column {quoted(name)} of {where} is named for {' and '.join(rivals)}: name one for each."
            )
    missing = {role: name for role, name in named.items() if name not in columns}
    if not missing:
        return
    known = {column.strip().lower(): column for column in reversed(columns)}
    matches = {role: difflib.get_close_matches(name.strip().lower(), known, n=1) for role, name in missing.items()}
    guesses = [f"{option_of(role)} {quoted(known[match[0]])}" for role, match in matches.items() if match]
    if guesses:
        remedy = f"did you mean {' '.join(guesses)}?"
    else:
        remedy = f"name {'them' if len(missing) > 1 else 'it'} with {' '.join(map(option_of, missing))}"
        if not is_wide and {"item", "resp"} <= set(missing):
            remedy += " or, if each row is a person, name the item columns with --wide"
        remedy += "."
    raise InputError(f"{where} has no column {listed(missing.values(), 6)} (found: {listed(columns, 12)}): {remedy}")


def _rename(table: pd.DataFrame, roles: dict[str, str], kept: set[str], where: str) -> pd.DataFrame:
    displaced = [role for role in roles if role in table.columns and role not in roles.values()]
    for role in displaced:
        if role in kept:
            raise InputError(
                f"Column {role!r} of {where} is in the way of {option_of(role)} {quoted(roles[role])}: rename it."
            )
    return table.drop(columns=displaced).rename(columns={name: role for role, name in roles.items()})


def _item_columns(wide: Sequence[str], columns: list[str], taken: set[str], where: str) -> list[str]:
    persons = {*taken, "std_baseline", "wave", "cluster", *(name for name in columns if name.startswith("cov_"))}
    items: dict[str, None] = {}
    for wanted in wide:
        if wanted in columns and wanted not in taken:
            matches = [wanted]
        else:
            matches = [name for name in columns if name not in persons and fnmatch.fnmatchcase(name, wanted)]
        if not matches:
            raise InputError(
                f"{where} has no item column {quoted(wanted)} (found: {listed(columns, 12)}): "
                "name the item columns with --wide, or give a pattern such as --wide 'q*'."
            )
        items.update(dict.fromkeys(matches))
    return list(items)


def _lengthen(table: pd.DataFrame, items: list[str]) -> pd.DataFrame:
    table = table.reset_index(drop=True)
    # melted under their positions, so that no item's name can clash with the names melt gives
    responses = table[items].set_axis(range(len(items)), axis=1).melt(ignore_index=False).sort_index(kind="stable")
    others = [name for name in table.columns if name not in items and name not in ("item", "resp")]
    long = table.loc[responses.index, others].reset_index(drop=True)
    long["item"] = [items[position] for position in responses["variable"]]
    long["resp"] = responses["value"].to_numpy()
    return long


def _two_arms(treat: pd.Series, labels: dict, control: str, where: str) -> pd.Series:
    values = {value: _as_text(value) for value in treat.dropna().unique()}
    named = {_as_text(code): str(label).strip() for code, label in labels.items()}
    found = list(dict.fromkeys(values.values()))
    shown = listed((f"{text} = {named[text]}" if text in named else text for text in found), 6)
    wanted = control.strip()
    matches = (
        [text for text in found if text == wanted]
        or [text for text in found if named.get(text) == wanted]
        or [text for text in found if text.casefold() == wanted.casefold()]
    )
    if not matches:
        raise InputError(
            f"Column {quoted(treat.name)} of {where} has no value {quoted(control)} (found: {shown}): "
            "give one of them as --control."
        )
    if len(found) != 2 or len(matches) != 1:
        raise InputError(
            f"Column {quoted(treat.name)} of {where} must tell two arms apart, but it holds {shown}: "
            "keep the rows of the control arm and of one treatment."
        )
    arms = treat.map({value: float(text != matches[0]) for value, text in values.items()}).astype(float)
    return arms.astype("int64") if arms.notna().all() else arms


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
