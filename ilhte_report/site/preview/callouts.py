"""Callouts: `::: {.callout-note title="..."}`."""

from __future__ import annotations

from .tree import Node, attributes, div, plain, raw, walk, words

_KINDS = ("note", "tip", "warning", "important", "caution")


def with_callouts(blocks: list[Node]) -> list[Node]:
    return walk(blocks, _callout)


def _callout(node: Node) -> Node | None:
    if node["t"] != "Div":
        return None
    (identifier, classes, pairs), content = node["c"]
    kind = next((name for name in _KINDS if f"callout-{name}" in classes), None)
    if kind is None:
        return None
    pairs = dict(pairs)
    title = words(pairs.get("title", kind.capitalize()))
    if "title" not in pairs and content and content[0]["t"] == "Header":
        title, content = content[0]["c"][2], content[1:]
    content = with_callouts(content)
    heading = div(attributes("", "callout-title"), [plain(title)])
    body = [heading, *content]
    if "collapse" in pairs:
        opened = " open" if pairs["collapse"] == "false" else ""
        body = [raw(f"<details{opened}><summary>"), plain(title), raw("</summary>"), *content, raw("</details>")]
    return div(attributes(identifier, "callout", f"callout-{kind}", role="note"), body)
