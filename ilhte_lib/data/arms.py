"""Tables with three or more arms: each treatment against the same control, one trial per treatment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import counted, listed, quoted
from .trial import Audit

if TYPE_CHECKING:
    import pandas as pd

ARMS = "arms"
"""Key of ``table.attrs``: labels of the control and the other arms, where there are three or more; treat then holds labels."""
BESIDE = " / "
"""Separates the table's name from the arm's in the name of an arm's trial."""


def arms_of(table: pd.DataFrame) -> tuple[str, tuple[str, ...]] | None:
    """The control and the other arms of a table with several; None where treat is 0 and 1."""
    found = table.attrs.get(ARMS)
    return None if found is None else (str(found[0]), tuple(map(str, found[1:])))


def chosen_arms(table: pd.DataFrame, tab: str, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The arms to compare with control: all, or those of --arms, in the table's order.

    Raises
    ------
    InputError : an arm is unknown or the control, or the table has two arms.
    """
    known = arms_of(table)
    if known is None:
        raise InputError(
            f"--arms is for a table of three or more arms with a named control: name it with --control, or leave out --arms "
            f"(table {quoted(tab)} has two arms)."
        )
    control, others = known
    if asked is None:
        return others
    wanted: list[str] = []
    for text in asked:
        wanted += [text] if text in others else [part.strip() for part in text.split(",")]
    for name in wanted:
        if name not in others:
            what = "is the control" if name == control else "is not an arm"
            raise InputError(
                f"{quoted(name)} {what} of table {quoted(tab)}: name one of {listed(others, 6)} (option --arms)."
            )
    return tuple(name for name in others if name in wanted)


def one_arm(table: pd.DataFrame, tab: str, asked: Sequence[str] | None, audit: Audit) -> pd.DataFrame:
    """The rows of the control and of the one arm in ``asked``, with treat as 0 and 1; a table with two arms unchanged.

    Raises
    ------
    InputError : the table has several arms and ``asked`` does not name exactly one.
    """
    known = arms_of(table)
    if known is None:
        if asked is not None:
            chosen_arms(table, tab, asked)
        return table
    control, _ = known
    chosen = chosen_arms(table, tab, asked)
    if len(chosen) != 1:
        raise InputError(
            f"Table {quoted(tab)} has {counted(len(chosen), 'arm', 'arms')} beside control {quoted(control)} ({listed(chosen, 6)}): name one "
            "with --arms (`ilhte fit` and `ilhte run` compare each with control)."
        )
    labels = table["treat"]
    reason = f"Arms other than {quoted(chosen[0])} and the control {quoted(control)}."
    table = audit.keep(table, labels.isin([control, chosen[0]]) | labels.isna(), "arms", reason)
    return table.assign(treat=table["treat"].map({control: 0.0, chosen[0]: 1.0}))


def by_arm(table: pd.DataFrame, tab: str, asked: Sequence[str] | None) -> list[tuple[str, pd.DataFrame]]:
    """Name and rows of each arm with the control, with treat as 0 and 1; a table with two arms unchanged.

    Raises
    ------
    InputError : as for ``chosen_arms``.
    """
    if arms_of(table) is None and asked is None:
        return [(tab, table)]
    chosen = chosen_arms(table, tab, asked)
    parts = []
    for arm in chosen:
        part = one_arm(table, tab, (arm,), Audit())
        part.attrs.pop(ARMS, None)
        parts.append((f"{tab}{BESIDE}{arm}", part))
    return parts


def one_arm_each(table: pd.DataFrame, tab: str) -> None:
    """Raise InputError if a person is in several arms."""
    several = table.groupby("id")["treat"].nunique()
    changing = [str(person) for person in several.index[several > 1]]
    if changing:
        raise InputError(
            f"Column treat of table {quoted(tab)} is not constant within a person for {counted(len(changing), 'person', 'persons')} (id "
            f"{listed(changing, 3)}): give each person one arm."
        )
