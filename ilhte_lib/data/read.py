"""A researcher's own file as a long table: one row per response, with columns id, item, resp and treat.

This module only names and reshapes; ``prepare`` judges values, such as whether ``treat`` is constant within a person.
"""

from __future__ import annotations

import difflib
import fnmatch
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted
from .arms import ARMS
from .columns import as_numbers
from .contents import Contents, Sought, ValueLabels, refuse_duplicates
from .covariate import is_covariate
from .file_formats import format_of, read_file
from .identifiers import natural_key
from .missing_codes import named_codes, without_codes
from .persons import ONE_ROW_A_PERSON
from .precision import lost_digits, numbers_if_exact, whole_names

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
    sheet: str | int | None = None,
    header_row: int | None = None,
    missing_codes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read a file into a long table with columns id, item, resp, treat, then every other column under its own name.

    Types are as read, except for ids and items: in CSV and TSV files they stay text (``01`` and ``1`` are two persons), in
    Excel sheets they are as in the cells, and in other formats whole numbers are integers (Python's if some are missing, so
    that none is rounded), as are clusters that floating point would round. Categories are given by their values. Blank text is
    missing in every format; words such as NA are missing only in CSV, TSV and Excel files.

    ``attrs`` of the table holds "cautions", sentences a reader of the results must see; "value_labels", labels from SPSS and
    Stata files, {column: {code: label}}, those of a wide file's items under ``resp``; and "one_row_a_person", whether the file
    was wide.

    Parameters
    ----------
    path : CSV or TSV (also gzipped; separated by commas, semicolons, tabs or bars, with decimal points or commas),
        Parquet, Stata ``.dta``, SPSS ``.sav``, Excel ``.xlsx``, R ``.rds``.
    id, item, resp, treat, wave : names of these columns in the file; only ``wave`` may be absent. Another column with a
        standard name is left out.
    pretest, cluster : columns that must be present; they keep their names (pass these to ``prepare`` as ``covariate`` and
        ``cluster``).
    control : the value, or value label, of ``treat`` that means control, ignoring case; it becomes 0, and a single other value
        becomes 1. With several other values ``treat`` holds labels, and ``attrs["arms"]`` the control's and the others'.
        Default: ``treat`` is left as it is.
    wide : for a file with one row per person, the item columns by name or by pattern such as ``q*``; ``item`` and ``resp``
        are then not looked for, and without ids rows are numbered.
    sheet : of an Excel file, by name or by number from 1; default the first.
    header_row : of an Excel or text file, the row of column names, from 1; rows above it, and rows directly below that describe
        the columns, are left out. Default the first row that is not empty.
    missing_codes : values of ``treat`` that mean missing and are not an arm (``prepare`` handles the other columns).

    Raises
    ------
    InputError : the file cannot be read, lacks a column, has two of the same name, or does not have two arms.
    """
    path = Path(path)
    roles = {"id": id, "item": item, "resp": resp, "treat": treat, "wave": wave}
    kept = {role: name for role, name in (("pretest", pretest), ("cluster", cluster)) if name}
    if wide is not None:
        del roles["item"], roles["resp"]
    names = {cluster or "cluster": "clusters", id: "persons"} | ({item: "items"} if wide is None else {})
    optional = {role for role, name in (("wave", wave), ("id", id if wide is not None else "")) if role == name}
    needed = tuple(dict.fromkeys((*(name for role, name in roles.items() if role not in optional), *kept.values())))
    contents = read_file(
        path,
        Sought(
            names=names,
            needed=needed,
            responses=resp if wide is None else None,
            patterns=tuple(wide or ()),
            sheet=None if sheet is None else str(sheet),
            header_row=header_row,
        ),
    )
    table, where = contents.table, quoted(path.name)
    cautions = [*contents.cautions, *_exact_names(table, names, contents, path)]
    return _shaped(table, where, roles, kept, optional, control, wide, missing_codes, contents, cautions)


def shaped(
    table: pd.DataFrame,
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
    missing_codes: Sequence[str] | None = None,
    **of_files: object,
) -> pd.DataFrame:
    """A table in memory, named and reshaped as by ``read_table``; the original is not changed.

    Raises
    ------
    InputError : it lacks a column, has two of the same name, or does not have two arms.
    """
    table = table.reset_index(drop=True).set_axis([str(name) for name in table.columns], axis=1)
    refuse_duplicates(table.columns, "The table")
    roles = {"id": id, "item": item, "resp": resp, "treat": treat, "wave": wave}
    kept = {role: name for role, name in (("pretest", pretest), ("cluster", cluster)) if name}
    if wide is not None:
        del roles["item"], roles["resp"]
    optional = {role for role, name in (("wave", wave), ("id", id if wide is not None else "")) if role == name}
    return _shaped(table, "The table", roles, kept, optional, control, wide, missing_codes, None, [])


def _shaped(
    table: pd.DataFrame,
    where: str,
    roles: dict[str, str],
    kept: dict[str, str],
    optional: set[str],
    control: str | None,
    wide: Sequence[str] | None,
    missing_codes: Sequence[str] | None,
    contents: Contents | None,
    cautions: list[str],
) -> pd.DataFrame:
    other_sheets, labels = (contents.other_sheets, dict(contents.labels)) if contents else ((), {})
    ordered = _ordered_categories(table, [roles["resp"]] if wide is None else list(map(str, table.columns)))
    for column in table.columns[table.dtypes.map(lambda dtype: hasattr(dtype, "categories"))]:
        table[column] = _category_values(table[column])

    for role in optional:
        if role not in table.columns:
            del roles[role]
    named = roles | kept
    if wide is not None and "id" in optional and "id" not in roles:
        table = _numbered(table)
        roles = {"id": "id"} | roles
    _require(named, list(table.columns), where, is_wide=wide is not None, sheets=other_sheets)
    items = _item_columns(wide, list(table.columns), set((roles | kept).values()), where) if wide is not None else []

    several: tuple[str, ...] = ()
    if control is not None:
        arm = roles["treat"]
        table[arm] = without_codes(table[arm], named_codes(missing_codes) or ())
        table[arm], several = _arms(table[arm], labels.pop(arm, {}), control, where)
    table = _rename(table, roles, {*items, *kept.values()}, where)
    if wide is not None:
        table = _lengthen(table, items)
    first = ["id", "item", "resp", "treat"]
    table = table[[*first, *(name for name in table.columns if name not in first)]]
    if len(table.columns) > _MANY_COLUMNS:
        table = table.copy()  # consolidated into few blocks, so that adding columns is cheap
    table.attrs = {
        ONE_ROW_A_PERSON: wide is not None,
        "cautions": cautions,
        "value_labels": _labels_by_role(labels, roles, items, table),
    }
    if several:
        table.attrs[ARMS] = several
    if known := ordered if wide is None else {name: ordered[name] for name in items if name in ordered}:
        # for the items of a wide file together, the longest list if it contains the others
        longest = max(known.values(), key=len)
        if all(set(labels) <= set(longest) for labels in known.values()):
            table.attrs["categories"] = longest
    return table


def _ordered_categories(table: pd.DataFrame, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Labels, lowest first, of the text columns whose categories are ordered in the file."""
    return {
        name: tuple(map(str, table[name].cat.categories))
        for name in names
        if name in table.columns
        and getattr(table[name].dtype, "ordered", False)
        and all(isinstance(label, str) for label in table[name].cat.categories)
        and not as_numbers(table[name].cat.categories.to_series()).notna().all()
    }


_MANY_COLUMNS = 90


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([pd.Series(range(1, len(table) + 1), name="id"), table], axis=1)


def _category_values(column: pd.Series) -> pd.Series:
    try:
        return column.astype(column.cat.categories.dtype)
    except (TypeError, ValueError):  # whole numbers, of which some are missing
        return column.astype(object)


def _labels_by_role(labels: ValueLabels, roles: dict[str, str], items: list[str], table: pd.DataFrame) -> ValueLabels:
    """Value labels under the columns' new names; those of a wide file's items are merged, the first label of a code winning."""
    of_name = {name: role for role, name in roles.items()}
    found: ValueLabels = {}
    for name, of_column in labels.items():
        now = "resp" if name in items else of_name.get(name, name)
        if now in table.columns and (name in of_name or name not in roles):
            found[now] = {**of_column, **found.get(now, {})}
    return found


def _exact_names(table: pd.DataFrame, names: dict[str, str], contents: Contents, path: Path) -> list[str]:
    """Convert whole-numbered names to integers in place; return sentences on names that the file has rounded."""
    cautions = []
    ending, where = format_of(path.name), quoted(path.name)
    is_text = ending.startswith((".csv", ".tsv"))
    for name, what in names.items():
        if name not in table.columns:
            continue
        lost = lost_digits(table[name], what, where, single=name in contents.single, is_excel=ending == ".xlsx")
        if lost:
            cautions.append(lost)
        if is_text:
            if what == "clusters":
                table[name] = numbers_if_exact(table[name])
        else:
            table[name] = whole_names(table[name])
    return cautions


def source_name(path: str | Path) -> str:
    """The table's name: the file name without the ending of its format."""
    name = Path(path).name
    return name[: len(name) - len(format_of(name))]


def option_of(role: str) -> str:
    """The option that names a role's column; ``--wave`` chooses a wave, so its column has ``--wave-column``."""
    return "--wave-column" if role == "wave" else f"--{role.replace('_', '-')}"


def _require(named: dict[str, str], columns: list[str], where: str, *, is_wide: bool, sheets: Sequence[str]) -> None:
    for name in named.values():
        rivals = [option_of(role) for role, same in named.items() if same == name]
        if len(rivals) > 1:
            raise InputError(
                f"Column {quoted(name)} of {where} is named for both {' and '.join(rivals)}: name a different column for each."
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
            remedy += " or, if there is one row per person, name the item columns with --wide"
        remedy += "."
    if sheets:
        there = "is another sheet" if len(sheets) == 1 else "are other sheets"
        remedy = f"there {there}, {listed(sheets, 6)} (option --sheet); if this is the right one, {remedy}"
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
    persons = {*taken, "wave", "cluster", *(name for name in columns if is_covariate(name))}
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
    import pandas as pd

    table = table.reset_index(drop=True)
    # melted under their positions, so that no item's name can clash with those that melt introduces
    responses = table[items].set_axis(range(len(items)), axis=1).melt(ignore_index=False).sort_index(kind="stable")
    others = [name for name in table.columns if name not in items and name not in ("item", "resp")]
    long = table.loc[responses.index, others].reset_index(drop=True)
    answers = {"item": [items[position] for position in responses["variable"]], "resp": responses["value"].to_numpy()}
    # joined at once: adding columns to a wide frame is slow, and pandas warns about it
    return pd.concat([long, pd.DataFrame(answers)], axis=1)


def _arms(treat: pd.Series, labels: dict, control: str, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Column treat as 0 and 1 and no labels if there are two arms; otherwise as labels, and these, the control's first."""
    values = {value: _value_text(value) for value in treat.dropna().unique()}
    named = {_value_text(code): str(label).strip() for code, label in labels.items()}
    found = list(dict.fromkeys(values.values()))
    shown = listed((f"{text} = {named[text]}" if text in named else text for text in found), 6)
    wanted = control.strip()
    matches = (
        [text for text in found if text == wanted]
        or [text for text in found if named.get(text) == wanted]
        or [text for text in found if _same(text, wanted)]
        or [text for text in found if _same(named.get(text, ""), wanted)]
        or [text for text in found if _same_number(text, wanted)]
    )
    if not matches:
        raise InputError(
            f"Column {quoted(treat.name)} of {where} has no value {quoted(control)} (found: {shown}): "
            "give one of them as --control."
        )
    if len(found) > 2 and len(matches) == 1:
        shown_as = {text: named.get(text) or text for text in found}
        if len(set(shown_as.values())) < len(found):
            shown_as = {text: text for text in found}
        others = (text for text in sorted(found, key=natural_key) if text != matches[0])
        as_labels = treat.map({value: shown_as[text] for value, text in values.items()})
        return as_labels, (shown_as[matches[0]], *(shown_as[text] for text in others))
    if len(found) != 2 or len(matches) != 1:
        raise InputError(
            f"Column {quoted(treat.name)} of {where} must distinguish two arms, but it holds {shown}: "
            "keep the rows of the control arm and of one treatment."
        )
    arms = treat.map({value: float(text != matches[0]) for value, text in values.items()}).astype(float)
    return (arms.astype("int64") if arms.notna().all() else arms), ()


def _same(text: str, wanted: str) -> bool:
    """Whether two texts are equal up to case and Unicode composition."""
    return (
        bool(text) and unicodedata.normalize("NFC", text).casefold() == unicodedata.normalize("NFC", wanted).casefold()
    )


def _same_number(text: str, wanted: str) -> bool:
    try:
        return float(text) == float(wanted)
    except ValueError:
        return False


def _value_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
