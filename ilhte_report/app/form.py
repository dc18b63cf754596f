"""The data options as a form: one field for each option of the command line, with its help text."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, get_args, get_origin

from htmltools import Tag, TagList, tags
from shiny import ui

from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.read import option_of
from ilhte_lib.errors import InputError

from ..intake.columns import Columns
from ..options import OPTIONS

PREFIX = "option_"
SHAPE = "shape"
LONG, WIDE = "long", "wide"
_COLUMNS = ("id", "item", "resp", "treat", "wave_column", "cluster", "covariate")
"""Options whose value is a column."""
_FIRST = (
    "id",
    "item",
    "resp",
    "wide",
    "treat",
    "control",
    "covariate",
    "cluster",
    "wave_column",
    "wave",
    "lower_is_better",
)
_OF_FILES = ("sheet", "header_row")
"""Options for reading the file, placed where it is chosen."""
_LABELS = {
    "id": "Persons", "item": "Items", "resp": "Responses", "treat": "Arms", "wave_column": "Waves", "wave": "Wave to keep",
    "wide": "Item columns", "control": "Control arm", "arms": "Arms to compare with it", "cluster": "Clusters", "covariate": "Covariate or pretest",
    "lower_is_better": "Lower is better", "sheet": "Sheet", "header_row": "Row with the column names",
}  # fmt: skip
_WIDE_HELP = "One name or pattern per line: q* stands for all columns whose names begin with q."


def described(columns: Columns, data: DataOptions) -> TagList:
    """The fields for a file, filled with ``data``."""
    field = _Fields(columns, data)
    shape = ui.input_radio_buttons(
        SHAPE,
        "Each row of the file is",
        {LONG: "one response", WIDE: "one person, the items in columns"},
        selected=WIDE if data.wide else LONG,
        inline=True,
    )
    first = [field(name) for name in _FIRST]
    rest = [field(name) for name in OPTIONS if name not in (*_FIRST, *_OF_FILES)]
    return TagList(
        shape,
        tags.div(*first, class_="fields"),
        tags.details(tags.summary("More options"), tags.div(*rest, class_="fields")),
    )


def of_files() -> TagList:
    """The fields for the place of the table in its file."""
    field = _Fields(Columns((), {}, DataOptions(), True), DataOptions())
    return TagList(*(field(name) for name in _OF_FILES))


def chosen(shape: str, value: Callable[[str], Any]) -> DataOptions:
    """The options in a completed form; ``value`` gives the content of a field by the option's name, None if it is empty.

    Raises
    ------
    InputError : a field contains something that its option does not accept.
    """
    wide = shape == WIDE
    found = {}
    for name, option in OPTIONS.items():
        if name in (("item", "resp") if wide else ("wide",)):
            continue
        content = _parsed(name, _kind(option), value(name))
        if content is not None:
            found[name] = content
    if wide and not found.get("wide"):
        raise InputError("No item column is named: give one name or pattern per line, such as q*.")
    return DataOptions(**found)


class _Fields:
    def __init__(self, columns: Columns, data: DataOptions) -> None:
        self.columns, self.data = columns, data

    def __call__(self, name: str) -> Tag:
        option, now = OPTIONS[name], getattr(self.data, name)
        key, kind = PREFIX + name, _kind(option)
        label = _label(name, option)
        if name in _COLUMNS and self.columns.names:
            field = ui.input_select(key, label, self._columns(name), selected=now if now in self.columns.names else "")
        elif name in ("control", "wave") and (
            values := self._values_of("treat" if name == "control" else "wave_column")
        ):
            none = "0 in the file" if name == "control" else "the first after randomisation"
            field = ui.input_select(key, label, {"": none, **{value: value for value in values}}, selected=now or "")
        elif kind is bool:
            field = ui.input_checkbox(key, label, value=now)
        elif isinstance(kind, type) and issubclass(kind, StrEnum):
            field = ui.input_select(key, label, {choice.value: choice.value for choice in kind}, selected=now)
        elif name == "wide":
            field = ui.input_text_area(key, label, "\n".join(now or ()), rows=3, spellcheck="false")
        else:
            text = ",".join(now) if isinstance(now, tuple) else "" if now is None else str(now)
            field = ui.input_text(key, label, text, spellcheck="false")
        only = {"item": LONG, "resp": LONG, "wide": WIDE}.get(name)
        return tags.div(field, class_=f"only-{only}" if only else None)

    def _columns(self, name: str) -> dict[str, str]:
        none = {
            "id": "row numbers",
            "covariate": "automatic",
            "cluster": "none, or cluster",
            "wave_column": "none, or wave",
        }
        return {"": none.get(name, "choose"), **{column: column for column in self.columns.names}}

    def _values_of(self, role: str) -> tuple[str, ...]:
        return self.columns.values.get(getattr(self.data, role), ())


def _label(name: str, option: Any) -> TagList:
    help_text = _WIDE_HELP if name == "wide" else option.__metadata__[0].help or ""
    spelled = option_of("wave" if name == "wave_column" else name) if name != "wave" else "--wave"
    title = _LABELS.get(name, name.replace("_", " ").capitalize())
    # messages refer to options by their names on the command line
    return TagList(title, " ", tags.code(spelled), tags.small(help_text, class_="help"))


def _kind(option: Any) -> Any:
    """The type of an option's value, without ``| None``."""
    kind = get_args(option)[0]
    if isinstance(kind, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    return get_origin(kind) or kind


def _parsed(name: str, kind: Any, content: Any) -> Any:
    """The content of a field as a value of its option; None if it was left empty."""
    if content is None or (isinstance(content, str) and not content.strip()):
        return None
    if kind is list:
        return tuple(line.strip() for line in content.splitlines() if line.strip())
    if kind in (int, float):
        try:
            return kind(content)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise InputError(f"{_LABELS.get(name, name)}: {content.strip()} is not {wanted}.") from None
    return content


def given(texts: Mapping[str, str]) -> dict[str, Any]:
    """The text of fields as values of their options, without empty ones.

    Raises
    ------
    InputError : a field contains something that its option does not accept.
    """
    found = {name: _parsed(name, _kind(OPTIONS[name]), text) for name, text in texts.items()}
    return {name: value for name, value in found.items() if value is not None}


def guessed(columns: Columns, options: Mapping[str, Any]) -> DataOptions:
    """The initial content of the form: the guess, and the options for reading the file."""
    return DataOptions.of({**columns.guess.changed(), **options})
