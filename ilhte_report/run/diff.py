"""Differences between two runs: versions and settings, tables, decisions, estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilhte_lib.data.arms import BESIDE
from ilhte_lib.errors import InputError

from ..project import find_project
from ..words.printable import visible
from .folder import RunFolder, by_arm

if TYPE_CHECKING:
    from rich.console import Console

DECISIONS = (
    "sig_il_hte",
    "singular",
    "converged",
    "method",
    "covariate",
    "wave",
    "n_items",
    "n_persons",
    "n_responses",
    "n_persons_cov",
)
SAME = 1e-9
"""Tolerance relative to the larger of 1 and the value, for differences due to the order of summation."""
NOT_COMPARED = {"tab", "seconds", "engine", "profile"}


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes
    ----------
    what : a column of the summary, or "status", "data", "arms", "items", or the item that changed most; with several arms,
        preceded by the arm's name and a colon.
    before, after : the values in the two runs.
    """

    what: str
    before: Any
    after: Any

    @property
    def is_decision(self) -> bool:
        """Whether it is a decision and not merely a change in a number."""
        what = self.what.rpartition(": ")[2]  # without the name of an arm
        return what in DECISIONS or what in ("status", "data", "arms", "items")


@dataclass(frozen=True)
class RunDiff:
    """The comparison of two runs.

    Attributes
    ----------
    header : versions and settings that differ.
    only_before, only_after : tables in one run only.
    tables : changes by table, for tables in both runs that changed, decisions first.
    n_same : number of tables in both runs without a change.
    """

    header: list[Change]
    only_before: list[str]
    only_after: list[str]
    tables: dict[str, list[Change]]
    n_same: int


def compare_runs(before: Path, after: Path) -> RunDiff:
    """Compare two runs' folders.

    Raises
    ------
    InputError : one of them does not contain a run, or a result in it was edited.
    """
    old, new = _opened(before), _opened(after)
    header = [
        Change(f"{group} {name}" if group == "settings" else name, value, other)
        for group in ("versions", "settings")
        for name, value, other in _pairs(old.record.get(group, {}), new.record.get(group, {}))
        if value != other
    ]
    both = [tab for tab in new.rows if tab in old.rows]
    tables = {tab: sorted(_changes(old, new, tab), key=lambda c: not c.is_decision) for tab in both}
    return RunDiff(
        header=header,
        only_before=[tab for tab in old.rows if tab not in new.rows],
        only_after=[tab for tab in new.rows if tab not in old.rows],
        tables={tab: changes for tab, changes in tables.items() if changes},
        n_same=sum(not changes for changes in tables.values()),
    )


def run_folder_named(name: str) -> Path:
    """The folder of a run, by its path or by its name in the project's ``results``."""
    path = Path(name)
    if path.is_dir():
        return path
    try:
        named = find_project() / "results" / name
    except InputError:
        named = Path("results") / name
    if named.is_dir():
        return named
    raise InputError(f"There is no run {name}: give its folder, or its name in results/.")


def print_diff(console: Console, diff: RunDiff) -> None:
    """Print the differences as a table, with decisions in bold."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    for change in diff.header:
        console.print(f"{change.what}: {change.before} -> {change.after}", markup=False, highlight=False)
    for words, tabs in (("first", diff.only_before), ("second", diff.only_after)):
        if tabs:
            named = ", ".join(visible(tab) for tab in tabs)
            console.print(f"Only in the {words}: {named}", markup=False, highlight=False)
    if diff.tables:
        shown = Table(box=SIMPLE)
        for heading in ("Table", "What", "Before", "After", "Change"):
            shown.add_column(heading, overflow="fold")
        for tab, changes in diff.tables.items():
            for k, change in enumerate(changes):
                cells = (change.what, _text(change.before), _text(change.after), _difference(change))
                style = "bold" if change.is_decision else None
                shown.add_row(escape(visible(tab)) if k == 0 else "", *map(escape, cells), style=style)
        console.print(shown)
    console.print(f"Tables in both runs: {diff.n_same} unchanged, {len(diff.tables)} changed.", highlight=False)


def _opened(path: Path) -> RunFolder:
    folder = RunFolder(path)
    if not folder.rows:
        raise InputError(f"{path} does not contain a run: name a folder written by `ilhte run`.")
    return folder


def _changes(old: RunFolder, new: RunFolder, tab: str) -> Iterator[Change]:
    row, other = old.rows[tab], new.rows[tab]
    if (row.status, row.reason) != (other.status, other.reason):
        yield Change("status", *(f"{r.status}: {r.reason}" if r.reason else r.status for r in (row, other)))
    if row.input_sha256 != other.input_sha256:
        yield Change("data", row.input_sha256[:8], other.input_sha256[:8])
    before, after = old.document(tab), new.document(tab)
    if before is None or after is None:
        return
    arms, others = ({document["tab"]: document for document in by_arm(whole)} for whole in (before, after))
    if arms.keys() != others.keys():
        yield Change("arms", _listed(sorted(arms.keys() - others.keys())), _listed(sorted(others.keys() - arms.keys())))
    for name in sorted(arms.keys() & others.keys()):
        for change in _document_changes(arms[name], others[name]):
            yield change if name == tab else replace(change, what=f"{name.removeprefix(tab + BESIDE)}: {change.what}")


def _document_changes(before: dict, after: dict) -> Iterator[Change]:
    for name, value, changed in _pairs(before["summary"], after["summary"]):
        if name not in NOT_COMPARED and not _same(value, changed):
            yield Change(name, value, changed)
    yield from _item_changes(before["items"], after["items"])


def _item_changes(before: list[dict], after: list[dict]) -> Iterator[Change]:
    old = {row["item"]: row["total_std"] for row in before}
    new = {row["item"]: row["total_std"] for row in after}
    if old.keys() != new.keys():
        lost, gained = (sorted(set(a) - set(b)) for a, b in ((old, new), (new, old)))
        yield Change("items", _listed(lost), _listed(gained))
    moved = {
        item: abs(new[item] - value)
        for item, value in old.items()
        if None not in (value, new.get(item)) and not _same(value, new[item])
    }
    if moved:
        item = max(moved, key=moved.__getitem__)
        yield Change(f"item {visible(item)} (moved most)", old[item], new[item])


def _pairs(before: dict, after: dict) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*before, *after)):
        yield name, before.get(name), after.get(name)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return abs(value - other) <= SAME * max(1.0, abs(value), abs(other))
    return value == other


def _listed(names: list[str]) -> str:
    shown = ", ".join(visible(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
    return shown or "none"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else visible(str(value))


def _difference(change: Change) -> str:
    both = (change.before, change.after)
    if change.is_decision or not all(isinstance(value, (int, float)) for value in both):
        return ""
    return f"{change.after - change.before:+.3g}"
