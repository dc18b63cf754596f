"""A researcher's own file as a long table: one row a response, columns id, item, resp and treat.

Naming and shaping only: whether ``resp`` is 0/1 or ``treat`` constant within a person is for ``prepare`` to say.
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

    Types are as read, except that ids and items of CSV and TSV files stay text (``01`` and ``1`` are two persons), those
    of Excel sheets are as the cells hold them, whole-numbered ones of other formats are integers (Python's, where some
    are missing: never rounded), clusters likewise where floating point would round them, and categories are given as
    their values. Empty text, or text of white space alone, is a missing value in every format; words such as NA are in
    CSV, TSV and Excel files only.

    ``attrs["cautions"]`` of the table is a list of sentences a reader of results must see, ``attrs["value_labels"]``
    has the labels of values that SPSS and Stata files carry, {column of the table: {code: label}}; the labels of a wide
    file's items stand under ``resp``.

    Parameters
    ----------
    path : CSV or TSV (also gzipped; separated by commas, semicolons, tabs or bars, with decimal points or commas),
        Parquet, Stata ``.dta``, SPSS ``.sav``, Excel ``.xlsx``, R ``.rds``.
    id, item, resp, treat, wave : the names these columns have in the file. Another column that bears the standard name
        is left out. Only ``wave`` may be absent.
    pretest, cluster : columns that must be there; they keep their names (give these to ``prepare`` as ``covariate`` and
        ``cluster``).
    control : the value, or value label, of ``treat`` that means control and becomes 0, in whatever case; one other value
        becomes 1. Of several others ``treat`` holds the labels, and ``attrs["arms"]`` the control's and theirs (``arms``).
        Without it ``treat`` stays as it is.
    wide : for a file with one row a person, the item columns by name or by pattern such as ``q*``; ``item`` and ``resp``
        are then not looked for, and a file without ids gets the numbers of its rows.
    sheet : of an Excel file, by name or by number from 1; default the first.
    header_row : of an Excel or text file, the row that holds the columns' names, from 1; what is above is left out, and
        so are rows right below that describe the columns. Default the first row that is not empty.
    missing_codes : values of ``treat`` that mean missing and are no arm (``prepare`` takes care of the other columns).

    ``attrs["one_row_a_person"]`` tells of a wide file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, has two of one name, or its arms are not two.
    """
    path = Path(path)
    roles = {"id": id, "item": item, "resp": resp, "treat": treat, "wave": wave}
    kept = {role: name for role, name in (("pretest", pretest), ("cluster", cluster)) if name}
    if wide is not None:
        del roles["item"], roles["resp"]
    names = {cluster or "cluster": "clusters", id: "persons"} | ({item: "items"} if wide is None else {})
    optional = {role for role, name in (("wave", wave), ("id", id if wide is not None else "")) if role == name}
    needed = tuple(dict.fromkeys((*(name for role, name in roles.items() if role not in optional), *kept.values())))
    contents = read_file(  # the rest is naming and shaping
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
    """A table that is in memory already, named and shaped as ``read_table`` does it; the given one stays as it is.

    Raises
    ------
    InputError : it lacks a column, has two of one name, or its arms are not two.
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
        table = table.copy()  # in few blocks, so that adding a column costs nothing
    table.attrs = {
        ONE_ROW_A_PERSON: wide is not None,
        "cautions": cautions,
        "value_labels": _labels_by_role(labels, roles, items, table),
    }
    if several:
        table.attrs[ARMS] = several
    if known := ordered if wide is None else {name: ordered[name] for name in items if name in ordered}:
        # of a wide file's items together: the longest list, where the others are parts of it
        longest = max(known.values(), key=len)
        if all(set(labels) <= set(longest) for labels in known.values()):
            table.attrs["categories"] = longest
    return table


def _ordered_categories(table: pd.DataFrame, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Labels, the lowest first, of the columns of text whose categories a file knows the order of."""
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
    """Value labels under the names the columns have now; those of a wide file's items together, the first of a code."""
    of_name = {name: role for role, name in roles.items()}
    found: ValueLabels = {}
    for name, of_column in labels.items():
        now = "resp" if name in items else of_name.get(name, name)
        if now in table.columns and (name in of_name or name not in roles):
            found[now] = {**of_column, **found.get(now, {})}
    return found


def _exact_names(table: pd.DataFrame, names: dict[str, str], contents: Contents, path: Path) -> list[str]:
    """Make names that are whole numbers integers, in place; sentences on such as the file has rounded."""
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
    """The table's name: the file's name without the ending that tells its format."""
    name = Path(path).name
    return name[: len(name) - len(format_of(name))]


def option_of(role: str) -> str:
    """The option that names a role's column; ``--wave`` itself chooses a wave."""
    return "--wave-column" if role == "wave" else f"--{role.replace('_', '-')}"


def _require(named: dict[str, str], columns: list[str], where: str, *, is_wide: bool, sheets: Sequence[str]) -> None:
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
    import pandas as pd

    table = table.reset_index(drop=True)
    # melted under their positions, so that no item's name can clash with the names melt gives
    responses = table[items].set_axis(range(len(items)), axis=1).melt(ignore_index=False).sort_index(kind="stable")
    others = [name for name in table.columns if name not in items and name not in ("item", "resp")]
    long = table.loc[responses.index, others].reset_index(drop=True)
    answers = {"item": [items[position] for position in responses["variable"]], "resp": responses["value"].to_numpy()}
    # joined at once: adding columns to many is slow, and pandas says so to the user
    return pd.concat([long, pd.DataFrame(answers)], axis=1)


def _arms(treat: pd.Series, labels: dict, control: str, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Column treat as 0 and 1 where it tells two arms apart; else as labels, and these, the control's first."""
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
    """Whether two texts differ in case alone, or in how Unicode composes a letter."""
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
