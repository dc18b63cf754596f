"""Small trials damaged in every way a researcher's file has been: what the fuzz test feeds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from hypothesis import strategies as st

JUNK = [
    None, "", "NA", "null", "nan", " ", "x", "1", "0", "1.0", "01", " 1", "1 ", "1,0", "TRUE", "False", 2, -1, 0.5, -0.0, 9, 99,
    1e-9, 1e308, "1e999", "inf", "-inf", True, 10**30, "9" * 400, "\U0001f642", "\x00", "\x1b[31m", "p0", "q1", "a\nb", '"', "'", "=1+1",
]  # fmt: skip
"""Values that turn up in a cell."""

COLUMNS = ("id", "item", "resp", "treat", "wave", "cov_a", "cov_b", "std_baseline", "cluster")


@dataclass(frozen=True)
class Case:
    """A damaged table, the way it comes in and the options it is fitted with.

    Attributes
    ----------
    table : long format, or what is left of it.
    as_text : None if the table is given as it is, else the CSV file to be read.
    whole : whether the text is the table, not cut or scrambled afterwards.
    options : of ``prepare``.
    damages : what was done, for whoever reads a failure.
    """

    table: pd.DataFrame
    as_text: bytes | None
    whole: bool
    options: dict = field(default_factory=dict)
    damages: tuple[str, ...] = ()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A sound trial of 10 to 30 persons and 3 to 6 items, of ratings in one table of three, with up to three damages."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    table = sound_trial(rng, draw(st.integers(10, 30)), draw(st.integers(3, 6)))
    if draw(st.sampled_from([False, False, True])):
        table["resp"] = 2 * table["resp"] + rng.integers(0, 2, len(table))
    damages = draw(st.lists(st.sampled_from(DAMAGES), max_size=3))
    for damage in damages:
        table = damage(draw, rng, table)
    if rng.random() < 0.03:
        table = pd.concat([table, table.iloc[:, :1]], axis=1)
    options: dict = {
        "profile": draw(st.sampled_from(["full", "full", "vignette"])),
        "repeated": draw(st.sampled_from(["error", "trials"])),
    }
    if rng.random() < 0.1:
        options["covariate"] = draw(st.sampled_from(["cov_a", "treat", "id", "nowhere"]))
    if rng.random() < 0.3 and "wave" in table:
        options["wave"] = draw(st.sampled_from(["0", "1", "2.0", "end", ""]))
    text, whole = None, True
    if draw(st.booleans()):
        text = _csv(table)
        if rng.random() < 0.15:
            text, whole = _scrambled(draw, text), False
    return Case(table, text, whole, options, tuple(damage.__name__ for damage in damages))


def sound_trial(rng: np.random.Generator, n_persons: int, n_items: int) -> pd.DataFrame:
    """A trial drawn from the model, complete, with a covariate in three tables of four and waves in one of four."""
    treat = (rng.permutation(n_persons) < n_persons // 2).astype(int)
    score = rng.normal(size=n_persons)
    theta = 1.6 * rng.normal(size=n_persons) + 0.5 * score + 0.3 * treat
    easiness, effect = rng.normal(size=n_items), 0.5 * rng.normal(size=n_items)
    eta = theta[:, None] + easiness + treat[:, None] * effect
    resp = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int)
    person, item = np.indices(eta.shape).reshape(2, -1)
    table = pd.DataFrame(
        {
            "id": [f"p{k}" for k in person],
            "item": [f"q{k}" for k in item],
            "resp": resp.ravel(),
            "treat": treat[person],
        }
    )
    if rng.random() < 0.75:
        table["cov_a"] = score[person].round(2)
    if rng.random() < 0.25:
        table["cov_b"] = rng.integers(0, 3, n_persons)[person]
    if rng.random() < 0.25:
        table = pd.concat([table.assign(wave=wave) for wave in (0, 1)], ignore_index=True)
    return table


def _some(draw: st.DrawFn, rng: np.random.Generator, table: pd.DataFrame, column: str) -> pd.Series:
    """Rows of some persons or items."""
    values = pd.unique(table[column]) if column in table and len(table) else np.array([], object)
    if not len(values):
        return pd.Series(np.zeros(len(table), bool), index=table.index)
    chosen = rng.choice(len(values), size=min(len(values), draw(st.integers(1, 3))), replace=False)
    return table[column].map(lambda value: any(_same(value, values[k]) for k in chosen)).astype(bool)


def _same(one: object, other: object) -> bool:
    return one is other or bool(pd.isna(one) and pd.isna(other)) or (type(one) is type(other) and one == other)


def _put(table: pd.DataFrame, rows: object, column: str, value: object) -> pd.DataFrame:
    """The table with values in some rows, given by position or as a mask."""
    values = table[column].astype(object).to_numpy().copy()
    values[rows if isinstance(rows, slice) else np.asarray(rows)] = value
    return table.assign(**{column: pd.Series(values, index=table.index, dtype=object)})


def junk_in_cells(draw, rng, table):
    column = draw(st.sampled_from([c for c in table.columns if c in COLUMNS] or ["none"]))
    if column not in table or not len(table):
        return table
    rows = rng.choice(len(table), size=min(len(table), draw(st.integers(1, 5))), replace=False)
    return _put(table, rows, column, draw(st.sampled_from(JUNK)))


def missing_responses(draw, rng, table):
    share = draw(st.sampled_from([0.05, 0.3, 0.8, 1.0]))
    return _put(table, rng.random(len(table)) < share, "resp", None) if "resp" in table else table


def absent_rows(draw, rng, table):
    return table[rng.random(len(table)) >= draw(st.sampled_from([0.05, 0.3, 0.8, 1.0]))].reset_index(drop=True)


def absent_column(draw, rng, table):
    return table.drop(columns=draw(st.sampled_from(list(table.columns) or ["none"])), errors="ignore")


def repeated_rows(draw, rng, table):
    if not len(table):
        return table
    again = table.iloc[rng.choice(len(table), size=draw(st.integers(1, 10)))]
    return pd.concat([table, again], ignore_index=True)


def constant_column(draw, rng, table):
    column = draw(st.sampled_from([c for c in ("resp", "treat", "cov_a", "item", "id") if c in table] or ["none"]))
    return _put(table, slice(None), column, draw(st.sampled_from([0, 1, 3, "a"]))) if column in table else table


def constant_item(draw, rng, table):
    return _put(table, _some(draw, rng, table, "item"), "resp", draw(st.integers(0, 1))) if "resp" in table else table


def separated_item(draw, rng, table):
    if not {"resp", "treat"} <= set(table):
        return table
    rows = _some(draw, rng, table, "item")
    values = table.loc[rows, "treat"].map(lambda v: v if draw_once(v) else None)
    return _put(
        table,
        rows,
        "resp",
        (values if draw(st.booleans()) else values.map(lambda v: None if v is None else 1 - v)).to_numpy(),
    )


def draw_once(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def everything_separated(draw, rng, table):
    return table.assign(resp=table["treat"]) if {"resp", "treat"} <= set(table) else table


def item_in_one_arm(draw, rng, table):
    if "treat" not in table:
        return table
    gone = _some(draw, rng, table, "item") & (table["treat"].astype(str) == draw(st.sampled_from(["0", "1"])))
    return table[~gone].reset_index(drop=True)


def person_without_responses(draw, rng, table):
    return _put(table, _some(draw, rng, table, "id"), "resp", None) if "resp" in table else table


def person_all_alike(draw, rng, table):
    return _put(table, _some(draw, rng, table, "id"), "resp", draw(st.integers(0, 1))) if "resp" in table else table


def everyone_alike(draw, rng, table):
    """Each person answers all items alike, so that persons differ as much as they can."""
    if not {"id", "resp"} <= set(table):
        return table
    return table.assign(resp=table["id"].map(lambda who: len(repr(who)) * 7 % 3 % 2))


def polytomous_item(draw, rng, table):
    if "resp" not in table:
        return table
    rows = _some(draw, rng, table, "item")
    return _put(table, rows, "resp", rng.integers(0, draw(st.integers(2, 5)) + 1, int(rows.sum())))


def other_codes(draw, rng, table):
    if "resp" not in table:
        return table
    codes = draw(
        st.sampled_from(
            [{0: 1, 1: 2}, {0: "0", 1: "1"}, {0: False, 1: True}, {0: -1, 1: 1}, {0: 0.0, 1: 1.9}, {0: "no", 1: "yes"}]
        )
    )
    return table.assign(resp=table["resp"].map(lambda v: codes.get(v, v) if _hashable(v) else v))


def _hashable(value: object) -> bool:
    return value.__hash__ is not None


def person_in_both_arms(draw, rng, table):
    if "treat" not in table or not len(table):
        return table
    return _put(table, [rng.integers(len(table))], "treat", draw(st.integers(0, 2)))


def other_arms(draw, rng, table):
    if "treat" not in table:
        return table
    codes = draw(
        st.sampled_from(
            [
                {0: 1, 1: 2},
                {0: False, 1: True},
                {0: "0", 1: "1"},
                {0: 1, 1: 0},
                {0: "control", 1: "new"},
                {0: 0.0, 1: 1.0},
            ]
        )
    )
    return table.assign(treat=table["treat"].map(lambda v: codes.get(v, v) if _hashable(v) else v))


def other_names(draw, rng, table):
    column = draw(st.sampled_from(["id", "item"]))
    if column not in table:
        return table
    number = {value: k for k, value in enumerate(dict.fromkeys(map(repr, table[column])))}
    names = draw(
        st.sampled_from(
            [lambda k: k, float, lambda k: k + 0.5, str, lambda k: f"{k:03d}", lambda k: f"{k}.0", lambda k: f"{k // 2}{'.0' * (k % 2)}",
             lambda k: k if k % 2 else str(k), lambda k: k % 5, lambda k: JUNK[k % len(JUNK)], lambda k: f"<b>{k}</b>", lambda k: k / 10]
        )
    )  # fmt: skip
    return table.assign(
        **{column: pd.Series([names(number[repr(v)]) for v in table[column]], index=table.index, dtype=object)}
    )


def waves(draw, rng, table):
    choice = draw(st.sampled_from(["two", "late", "text", "partial", "empty", "split", "mixed"]))
    n = len(table)
    if choice == "two":
        return pd.concat([table.assign(wave=1), table.assign(wave=2)], ignore_index=True)
    values = {
        "two": [1] * n, "late": [20200101] * n, "text": ["end"] * n, "empty": [None] * n,
        "partial": [1 if rng.random() < 0.7 else None for _ in range(n)],
        "split": [int(rng.integers(-1, 3)) for _ in range(n)],
        "mixed": ["1" if k % 2 else "end" for k in range(n)],
    }[choice]  # fmt: skip
    return table.assign(wave=pd.Series(values, index=table.index, dtype=object))


def covariate(draw, rng, table):
    """A covariate that is hard on arithmetic or on the rules."""
    if "id" not in table:
        return table
    name = draw(st.sampled_from(["cov_a", "cov_b", "std_baseline"]))
    number = {value: k for k, value in enumerate(dict.fromkeys(map(repr, table["id"])))}
    z = rng.normal(size=len(number) + 1)
    values = draw(
        st.sampled_from(
            [
                lambda k: z[k] * 1e300, lambda k: z[k] * 1e-300, lambda k: 1e12 + k % 3, lambda k: k % 2, lambda k: None,
                lambda k: None if k % 3 else z[k], lambda k: None if k > 1 else k, lambda k: "low" if k % 2 else "high",
                lambda k: np.inf if k == 0 else z[k], lambda k: 1e6 if k == 0 else 0.0, lambda k: float(k), lambda k: bool(k % 2),
                lambda k: f"{z[k]:.1f}",
            ]
        )
    )  # fmt: skip
    table = table.assign(
        **{name: pd.Series([values(number[repr(v)]) for v in table["id"]], index=table.index, dtype=object)}
    )
    if draw(st.booleans()) and "treat" in table:
        table = _put(table, table["treat"].astype(str) == "1", name, 0)
    return table


def covariate_within_person(draw, rng, table):
    return table.assign(cov_a=rng.normal(size=len(table)))


def shuffled(draw, rng, table):
    return table.iloc[rng.permutation(len(table))]


def other_types(draw, rng, table):
    """The same values under pandas' other types."""
    kind = draw(st.sampled_from(["category", "string", "Int64", "boolean", "float", "index"]))
    if kind == "index":
        return table.set_axis(pd.Index(rng.integers(0, 3, len(table)), name="id"))
    columns = {"string": ["id", "item"], "category": ["id", "item", "treat"], "float": ["resp", "treat"]}.get(
        kind, ["resp", "treat"]
    )
    for column in columns:
        if column in table:
            try:
                table = table.assign(**{column: table[column].astype(kind)})
            except (TypeError, ValueError):
                continue
    return table


def few_persons(draw, rng, table):
    if "id" not in table:
        return table
    kept = list(dict.fromkeys(map(repr, table["id"])))[: draw(st.integers(0, 5))]
    return table[[repr(v) in kept for v in table["id"]]].reset_index(drop=True)


DAMAGES = [
    junk_in_cells, junk_in_cells, junk_in_cells, missing_responses, absent_rows, absent_column,
    repeated_rows, constant_column, constant_item, separated_item, everything_separated, item_in_one_arm,
    person_without_responses, person_all_alike, everyone_alike, polytomous_item, other_codes, person_in_both_arms, other_arms,
    other_names, waves, covariate, covariate, covariate_within_person, shuffled, other_types, few_persons,
]  # fmt: skip


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode("utf-8", "surrogatepass")


def _scrambled(draw: st.DrawFn, text: bytes) -> bytes:
    """The file cut off, with bytes changed, or with another separator."""
    how = draw(st.sampled_from(["cut", "bytes", "separator", "header", "quote"]))
    where = draw(st.integers(0, max(len(text) - 1, 0)))
    if how == "cut":
        return text[:where]
    if how == "bytes":
        return text[:where] + draw(st.binary(min_size=1, max_size=4)) + text[where + 1 :]
    if how == "separator":
        return text.replace(b",", draw(st.sampled_from([b";", b"\t", b"|"])))
    if how == "header":
        return text.split(b"\n", 1)[-1]
    return text[:where] + b'"' + text[where:]
