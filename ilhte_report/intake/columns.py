"""The columns of a file, and a guess at which of them are persons, items, responses and arms."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.data.columns import as_numbers
from ilhte_lib.data.contents import Sought
from ilhte_lib.data.file_formats import read_file
from ilhte_lib.data.large import is_large
from ilhte_lib.data.options import DataOptions

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUES = 60
"""A column with more values than this is taken neither for arms nor for waves."""
_MOST_CATEGORIES = 10
_FEWEST_ITEMS = 3
_FIRST_ROWS = 5000
_CALLED = {
    "id": ("id", "person", "personid", "student", "studentid", "pupil", "pid", "participant", "participantid", "subject",
           "subjectid", "respondent", "case", "caseid", "code"),
    "item": ("item", "itemid", "question", "questionid", "task"),
    "resp": ("resp", "response", "answer", "correct", "score", "rating"),
    "treat": ("treat", "treatment", "treated", "trt", "arm", "group", "condition", "cond", "intervention"),
    "wave_column": ("wave", "time", "occasion"),
    "cluster": ("cluster", "school", "schoolid", "class", "classroom", "village", "clinic"),
    "covariate": ("stdbaseline", "pretest", "pre", "baseline"),
}  # fmt: skip
"""Usual names of such columns, in lower case and without punctuation; the more usual first."""
_MOST_ARMS = 8
_PLAIN_CONTROLS = ("control", "control group", "ctrl", "placebo", "usual", "business as usual", "usual care")
"""Names of arms that identify a column as that of the arms."""
_CONTROLS = ("control", "ctrl", "c", "placebo", "usual", "business as usual", "none", "0", "no")


@dataclass(frozen=True)
class Columns:
    """The columns of a file, as far as needed to describe them.

    Attributes
    ----------
    names : the columns, in order.
    values : the values of columns with at most ``MOST_VALUES`` of them, as text, in order.
    guess : a guess at the meaning of the columns, to be confirmed by the user.
    whole : whether all rows were read; of a large file only the first rows are.
    """

    names: tuple[str, ...]
    values: dict[str, tuple[str, ...]] = field(repr=False)
    guess: DataOptions
    whole: bool


def look(path: Path, *, sheet: str | None = None, header_row: int | None = None) -> Columns:
    """The columns of a file.

    Raises
    ------
    InputError : it cannot be read.
    """
    large = path.is_file() and is_large(path)
    if large:
        table, labels = _first_rows(path), {}
    else:
        contents = read_file(path, Sought(sheet=sheet, header_row=header_row))
        table, labels = contents.table, contents.labels
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    names = tuple(table.columns)
    values = {}
    for name in dict.fromkeys(names):
        if names.count(name) == 1 and (found := _values(table[name], labels.get(name, {}))) is not None:
            values[name] = found
    return Columns(names, values, _guess(names, values, table), not large)


def _first_rows(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            return next(file.iter_batches(batch_size=_FIRST_ROWS)).to_pandas()
    return pd.read_csv(path, nrows=_FIRST_ROWS, sep=None, engine="python")


def _values(column: pd.Series, labels: dict) -> tuple[str, ...] | None:
    """The values of a column as written in an option, in order; None if there are too many."""
    found = column.dropna()
    try:
        found = found.drop_duplicates().head(MOST_VALUES + 1)
    except TypeError:  # lists and the like
        return None
    if len(found) > MOST_VALUES:
        return None
    texts = {_text(labels.get(value, value)) for value in found}
    return tuple(sorted(texts, key=_natural_order))


def _text(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _natural_order(text: str) -> tuple:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _guess(names: tuple[str, ...], values: dict[str, tuple[str, ...]], table: pd.DataFrame) -> DataOptions:
    taken: dict[str, str] = {}
    for role, words in _CALLED.items():
        plain = {re.sub(r"[\W_]+", "", name.casefold()): name for name in reversed(names) if name not in taken.values()}
        if named := next((plain[word] for word in words if word in plain), None):
            taken[role] = named
    if not {"item", "resp"} <= taken.keys():
        taken = {role: name for role, name in taken.items() if role not in ("item", "resp")}
        items = _item_columns([name for name in names if name not in taken.values()], values, table)
    else:
        items = None
    if "treat" not in taken and (arm := _arm_column([n for n in names if n not in taken.values()], values)):
        taken["treat"] = arm
    control = _control(values.get(taken.get("treat", ""), ()))
    standard = {"wave_column": "wave", "cluster": "cluster", "covariate": "std_baseline"}
    own = {role: name for role, name in taken.items() if name != standard.get(role)}
    return DataOptions(**own, wide=items or None, control=control)


def _item_columns(
    names: list[str], values: dict[str, tuple[str, ...]], table: pd.DataFrame
) -> tuple[str, ...]:  # fmt: skip
    """Columns of a few whole numbers, or of the same few words under names that begin alike: as the pattern that their names
    share, or one by one; empty if there are too few."""
    few = [name for name in names if 1 < len(values.get(name, ())) <= _MOST_CATEGORIES + 2]
    scores = [name for name in few if (as_numbers(table[name].dropna().head(200)) % 1 == 0).all()]
    series = _series(scores)
    if len(scores) < _FEWEST_ITEMS:
        series = {
            stem: members
            for stem, members in _series(few).items()
            if len({value for name in members for value in values[name]}) <= _MOST_CATEGORIES + 2
        }
    stem = max(series, key=lambda stem: len(series[stem]), default="")
    members = series.get(stem, [])
    if stem and len(members) >= _FEWEST_ITEMS and not re.search(r"[*?\[\]]", stem):
        pattern = f"{stem}*"
        if fnmatch.filter([str(name) for name in table.columns], pattern) == members:
            return (pattern,)
    chosen = members if len(members) >= _FEWEST_ITEMS else scores
    return tuple(chosen) if len(chosen) >= _FEWEST_ITEMS else ()


def _series(names: list[str]) -> dict[str, list[str]]:
    """Beginning -> names with this beginning: q1, q2, q10; feels_afraid, feels_upset; How sure: of this, How sure: of that."""
    series: dict[str, list[str]] = {}
    ends = (r"\d+\D{0,2}$", r"(?<=[_.\- ])[^_.\- ]*$", r"(?<=[:?] )[^:?]*$")
    for name in names:
        for stem in {re.sub(end, "", name) for end in ends} - {name}:
            series.setdefault(stem, []).append(name)
    return series


def _arm_column(names: list[str], values: dict[str, tuple[str, ...]]) -> str | None:
    """The column with few values, one of them a name of a control group, if there is exactly one."""
    found = [
        name
        for name in names
        if 1 < len(values.get(name, ())) <= _MOST_ARMS
        and any(arm.strip().casefold() in _PLAIN_CONTROLS for arm in values[name])
    ]
    return found[0] if len(found) == 1 else None


def _control(arms: tuple[str, ...]) -> str | None:
    if set(arms) <= {"0", "1"}:
        return None
    return next((arm for word in _CONTROLS for arm in arms if arm.strip().casefold() == word), None)
