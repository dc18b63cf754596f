"""Pandoc's document tree in JSON: traversing it, and creating nodes."""

from __future__ import annotations

from collections.abc import Callable

Node = dict
Visit = Callable[[Node], "Node | list[Node] | None"]


def walk(content, visit: Visit):
    """A copy of `content` in which each node, in document order, is replaced by `visit(node)`.

    If the result is None, the node is kept and its content is traversed; if it is a list, its elements replace the node.
    """
    if isinstance(content, list):
        walked = []
        for item in content:
            new = walk(item, visit)
            if isinstance(new, list) and isinstance(item, dict):
                walked.extend(new)
            else:
                walked.append(new)
        return walked
    if isinstance(content, dict):
        if "t" in content and (new := visit(content)) is not None:
            return new
        return {key: walk(value, visit) for key, value in content.items()}
    return content


def attributes(identifier: str = "", *classes: str, **pairs: str) -> list:
    return [identifier, list(classes), [[key, value] for key, value in pairs.items()]]


def words(text: str) -> list[Node]:
    """Inline nodes for plain text; a no-break space stays one."""
    inlines: list[Node] = []
    for number, word in enumerate(text.split(" ")):
        if number:
            inlines.append({"t": "Space"})
        if word:
            inlines.append({"t": "Str", "c": word})
    return inlines


def raw(html: str) -> Node:
    return {"t": "RawBlock", "c": ["html", html]}


def div(attribute: list, blocks: list[Node]) -> Node:
    return {"t": "Div", "c": [attribute, blocks]}


def span(attribute: list, inlines: list[Node]) -> Node:
    return {"t": "Span", "c": [attribute, inlines]}


def plain(inlines: list[Node]) -> Node:
    return {"t": "Plain", "c": inlines}


def top_level(blocks: list[Node]) -> int:
    """The level of the highest heading in use."""
    levels: list[int] = []
    walk(blocks, lambda node: levels.append(node["c"][0]) if node["t"] == "Header" else None)
    return min(levels, default=2)
