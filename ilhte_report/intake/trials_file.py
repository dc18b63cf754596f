"""A file of trials: the tables of a run and how to read each of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilhte_lib.data.options import DataOptions
from ilhte_lib.errors import InputError
from ilhte_lib.messages import quoted

TRIALS = ".toml"


@dataclass(frozen=True)
class TrialEntry:
    """One trial of the file.

    Attributes
    ----------
    file : its table; a relative name is relative to the folder of the file of trials.
    name : its name, or None for the name of the file.
    options : its data options (``DataOptions``), including those of ``[defaults]``; file names are resolved like ``file``.
    """

    file: str
    name: str | None
    options: dict[str, Any] = field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """The attributes of a source that it sets, besides the file."""
        return {"options": self.options} | ({"tab": self.name} if self.name else {})


def read_trials(path: Path) -> list[TrialEntry]:
    """The trials in a TOML file: ``[defaults]`` with options for all, and a ``[[trial]]`` with ``file`` for each.

    Raises
    ------
    InputError : the file cannot be read, is not TOML or names no trial, or an option is unknown or of the wrong type.
    """
    where = quoted(path.name)
    try:
        with open(path, "rb") as stream:
            found = tomllib.load(stream)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is not valid TOML ({error}): correct it there.") from None
    if others := set(found) - {"defaults", "trial"}:
        raise InputError(
            f"{where} contains {quoted(min(others))}: only [defaults] and a [[trial]] for each table are allowed."
        )
    trials, defaults = found.get("trial"), found.get("defaults", {})
    if not isinstance(trials, list) or not trials or not all(isinstance(trial, dict) for trial in trials):
        raise InputError(f'{where} names no trial: give each a [[trial]] with file = "trial.csv".')
    if not isinstance(defaults, dict):
        raise InputError(
            f"[defaults] of {where} is not a table: write [defaults] and below it the options for all trials."
        )
    return [_entry(trial, defaults, k, path) for k, trial in enumerate(trials, start=1)]


def _entry(trial: dict[str, Any], defaults: dict[str, Any], number: int, path: Path) -> TrialEntry:
    which = f"trial {number} of {quoted(path.name)}"
    file, name = trial.get("file"), trial.get("name")
    if not isinstance(file, str) or not file:
        raise InputError(f'{which[0].upper()}{which[1:]} has no file: name its table with file = "trial.csv".')
    if name is not None and not isinstance(name, str):
        raise InputError(f"The name of {which} is {quoted(str(name))}: it must be text in quotation marks.")
    own = {key: value for key, value in trial.items() if key not in ("file", "name")}
    options = DataOptions.of({**_plain_names(defaults), **_plain_names(own)}, which).changed()
    if isinstance(of_items := options.get("item_covariates"), str) and (path.parent / of_items).exists():
        options["item_covariates"] = str(path.parent / of_items)
    beside = path.parent / file
    return TrialEntry(str(beside) if beside.exists() else file, name, options)


def _plain_names(options: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in options.items()}
