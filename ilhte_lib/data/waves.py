"""Choice of the wave to analyse: by codes whose meaning is known, otherwise by the user."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted
from .columns import as_numbers
from .trial import Audit

if TYPE_CHECKING:
    import pandas as pd

IRW = "irw"
"""Value of ``table.attrs["waves"]`` for waves numbered as the IRW documents: 0 before treatment, 1 the first after it."""
_TIME_NAMES = (
    "time",
    "timepoint",
    "time_point",
    "visit",
    "occasion",
    "session",
    "period",
    "phase",
    "round",
    "test_time",
)
_MOST_WAVES = 30


def keep_wave(
    table: pd.DataFrame, tab: str, vignette: bool, wave: str | None, audit: Audit
) -> tuple[pd.DataFrame, str | None]:
    """The rows of one wave and its name, None if the table has no waves.

    Profile full takes the wave requested; otherwise the only numbered wave; the first above 0 if there is one of 0 or less,
    which by every convention is before treatment; or wave 1 of a table whose ``attrs["waves"]`` is ``IRW``.

    Raises
    ------
    InputError : there is no such wave, or the first after randomisation cannot be determined.
    """
    if "wave" not in table.columns:
        if wave is not None:
            raise InputError(
                f"Table {quoted(tab)} has no column wave, so no wave {quoted(wave)}: name the column of waves with "
                f"--wave-column{_perhaps(table)}, or leave the wave out."
            )
        return table, None
    values = table["wave"]
    numbers = as_numbers(values)
    levels = sorted(numbers.dropna().unique())
    flagged = False
    if vignette:
        if wave is not None and wave != "1":
            raise InputError(f"The vignette keeps only wave 1: choose wave {quoted(wave)} under profile full.")
        wanted, kept, rule = "1", numbers == 1, "The vignette keeps only wave 1."
    elif wave is not None:
        wanted, kept, rule = wave, in_wave(values, wave), f"Wave {quoted(wave)} was asked for."
    elif numbers.notna().sum() < values.notna().sum():
        raise InputError(
            f"Column wave of table {quoted(tab)} holds names ({_some(values)}), so the first wave after "
            "randomisation cannot be determined: choose one (option --wave)."
        )
    elif not levels:
        audit.note("wave", "Column wave is empty and was ignored.")
        return table, None
    else:
        first, rule, flagged = _known(levels, tab, table.attrs.get("waves") == IRW)
        wanted, kept = f"{first:.15g}", numbers == first
    if not kept.any():
        remedy = "choose one under profile full" if vignette else "choose one of these (option --wave)"
        raise InputError(
            f"Table {quoted(tab)} has no rows of wave {quoted(wanted)} (it has {_some(values)}): {remedy}."
        )
    if flagged:
        audit.flags.append(rule)
    return audit.keep(table, kept, "wave", rule), wanted


def _known(levels: list[float], tab: str, irw: bool) -> tuple[float, str, bool]:
    """The wave after randomisation, the reason, and whether it needs a flag."""
    after = [level for level in levels if level > 0]
    if len(levels) == 1:
        only = f"{levels[0]:.15g}"
        if after:
            return levels[0], f"All rows with a wave are of wave {only}.", False
        return levels[0], f"All rows with a wave are of wave {only}, which usually means before treatment.", True
    if after and (len(after) < len(levels) or (irw and after[0] == 1)):
        return after[0], f"The first wave after randomisation is kept ({after[0]:.15g}).", False
    shown = listed((f"{level:.15g}" for level in levels), 6)
    raise InputError(
        f"Column wave of table {quoted(tab)} holds {shown}, and which of them is after randomisation cannot be determined (only "
        "0 and less are known to be before it): choose one (option --wave)."
    )


def in_wave(waves: pd.Series, wave: str) -> pd.Series:
    """Whether each row belongs to a wave, by name or, if that is a number, by value."""
    kept = waves.astype(str) == wave
    with suppress(ValueError):  # the wave has a name
        kept |= as_numbers(waves) == float(wave)
    return kept & waves.notna()


def looks_like_time(name: str) -> bool:
    """Whether a column's name suggests that it distinguishes occasions."""
    plain = name.strip().lower()
    return plain in _TIME_NAMES or any(word in plain for word in ("wave", "date", "timestamp", "week", "month"))


def _perhaps(table: pd.DataFrame) -> str:
    names = [name for name in map(str, table.columns) if looks_like_time(name)]
    return f" (perhaps {listed(names, 3)})" if names else ""


def wave_advice(rows: pd.DataFrame, name: str) -> str:
    """Advice on choosing among the values of a column that distinguishes occasions."""
    values = rows[name].dropna().unique()
    if len(values) <= _MOST_WAVES:
        first = str(values[0])
        return f"choose one occasion with --wave-column {quoted(name)} --wave {quoted(first)} (it holds {_some(rows[name])})"
    return (
        f"column {quoted(name)} has {len(values)} different values, as timestamps do: add a column that numbers the "
        "occasions, name it with --wave-column and choose one with --wave"
    )


def _some(values: pd.Series) -> str:
    return listed((str(v) for v in values.dropna().unique()), 6)
