"""The front matter of a page's source, and the error for sources that cannot be rendered."""

from __future__ import annotations

import re

import yaml

from ilhte_lib.errors import IlhteError

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


class PageError(IlhteError):
    """An error in one sentence that names the page, the cell or line if there is one, and the problem."""


def split_front_matter(text: str, name: str) -> tuple[dict, str]:
    """The front matter and the rest of a page's text; `name` is the name of the page, for messages."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    return yaml_mapping(match[1], f"{name}: the front matter"), text[match.end() :]


def yaml_mapping(text: str, what: str) -> dict:
    """YAML that must be `name: value` pairs; otherwise raises `PageError` with a message that begins with `what`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PageError(f"{what} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PageError(f"{what} must be `name: value` pairs.")
    return content
