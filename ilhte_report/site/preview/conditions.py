"""Quarto's conditional content: Divs that are shown or hidden depending on the page's metadata."""

from __future__ import annotations

from collections.abc import Mapping

from .tree import Node, walk


def visible_blocks(blocks: list[Node], meta: Mapping) -> list[Node]:
    """`blocks` without hidden content; a visible Div is replaced by its content, as in Quarto.

    Supports `.content-visible` and `.content-hidden` with `when-meta="name"` or `unless-meta="name"`.
    """

    def visit(node: Node) -> list[Node] | None:
        if node["t"] != "Div":
            return None
        _, classes, pairs = node["c"][0]
        if "content-visible" in classes:
            shown = _holds(dict(pairs), meta)
        elif "content-hidden" in classes:
            shown = not _holds(dict(pairs), meta)
        else:
            return None
        return visible_blocks(node["c"][1], meta) if shown else []

    return walk(blocks, visit)


def _holds(condition: Mapping, meta: Mapping) -> bool:
    true = {name for name, value in meta.items() if value.get("c") not in (False, None, "", [])}
    if "when-meta" in condition and condition["when-meta"] not in true:
        return False
    return condition.get("unless-meta") not in true
