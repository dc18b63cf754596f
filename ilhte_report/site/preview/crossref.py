"""Numbers for figures, tables, equations and sections, and references such as `@fig-x`, in Quarto's wording."""

from __future__ import annotations

import html
import re
from collections import Counter

from ..front_matter import PageError
from .tree import Node, attributes, plain, raw, span, top_level, walk, words

_NAME = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}
_LABEL = re.compile(r"^(fig|tbl|eq|sec)-.")
_EQUATION_LABEL = re.compile(r"^\{#(eq-[^ }]+)\}$")


def with_references(blocks: list[Node], citable: set[str], number_sections: bool, page: str) -> list[Node]:
    """`blocks` with numbers for everything labelled and links for all references.

    In prose an unknown label or citation key raises `PageError`; in the output of a cell an `@name` is data and is kept.
    """
    numbering = _Numbering(blocks, number_sections, page)
    numbered = walk(blocks, numbering.visit)
    return _Linking(numbering.numbers, citable, page).link(numbered)


class _Numbering:
    def __init__(self, blocks: list[Node], number_sections: bool, page: str):
        self.numbers: dict[str, str] = {}
        self.page = page
        self.counts: Counter[str] = Counter()
        self.number_sections = number_sections
        self.sections: list[int] = []
        self.top = top_level(blocks)

    def visit(self, node: Node) -> Node | list[Node] | None:
        kind, content = node["t"], node.get("c")
        if kind == "Header":
            return self._section(*content)
        if kind in ("Para", "Plain"):
            return {"t": kind, "c": self._equations(content)}
        if kind == "Figure" and _kind(content[0][0]) == "fig":
            attribute, (short, caption), body = content
            return {
                "t": kind,
                "c": [attribute, [short, self._captioned(attribute[0], caption)], walk(body, self.visit)],
            }
        if kind == "Table" and _kind(content[0][0]) == "tbl":
            attribute, (short, caption), *rest = content
            return {"t": kind, "c": [attribute, [short, self._captioned(attribute[0], caption)], *rest]}
        if kind == "Div" and _kind(content[0][0]) in ("fig", "tbl"):
            return self._float(*content)
        return None

    def _number(self, label: str) -> str:
        if label in self.numbers:
            raise PageError(f"{self.page}: the label {label} is used twice.")
        kind = _kind(label)
        self.counts[kind] += 1
        self.numbers[label] = str(self.counts[kind])
        return self.numbers[label]

    def _section(self, level: int, attribute: list, inlines: list[Node]) -> Node | None:
        if "unnumbered" in attribute[1]:
            return None
        depth = level - self.top
        self.sections = (self.sections + [0] * (depth + 1))[: depth + 1]
        self.sections[depth] += 1
        number = ".".join(map(str, self.sections))
        if _kind(attribute[0]) == "sec":
            if attribute[0] in self.numbers:
                raise PageError(f"{self.page}: the label {attribute[0]} is used twice.")
            self.numbers[attribute[0]] = number
        if not self.number_sections:
            return None
        shown = span(attributes("", "header-section-number"), words(number))
        return {"t": "Header", "c": [level, attribute, [shown, {"t": "Space"}, *inlines]]}

    def _equations(self, inlines: list[Node]) -> list[Node]:
        numbered: list[Node] = []
        for inline in walk(inlines, self.visit):
            label = _EQUATION_LABEL.match(inline["c"]) if inline["t"] == "Str" else None
            if label is None:
                numbered.append(inline)
                continue
            while numbered and numbered[-1]["t"] in ("Space", "SoftBreak"):
                numbered.pop()
            if not numbered or numbered[-1]["t"] != "Math":
                raise PageError(f"{self.page}: the label {label[1]} does not follow an equation.")
            number = span(attributes("", "equation-number"), words(f"({self._number(label[1])})"))
            numbered.append(span(attributes(label[1], "equation"), [numbered.pop(), number]))
        return numbered

    def _captioned(self, label: str, caption: list[Node]) -> list[Node]:
        begin = f"{_NAME[_kind(label)]}\u00a0{self._number(label)}"
        if not caption:
            return [plain(words(begin))]
        first, *rest = caption
        return [{"t": first["t"], "c": [*words(f"{begin}: "), *first["c"]]}, *rest]

    def _float(self, attribute: list, blocks: list[Node]) -> list[Node]:
        """The figure or table of a cell, or one written as a Div whose last paragraph is the caption."""
        label, classes, _ = attribute
        *body, last = blocks or [plain([])]
        if last["t"] == "Div" and "cell-caption" in last["c"][0][1]:
            caption = last["c"][1]
        elif last["t"] == "Para":
            caption = [last]
        else:
            body, caption = blocks, []
        caption = [plain(block["c"]) if block["t"] == "Para" else block for block in caption]
        begin, shown = self._captioned(label, caption), walk(body, self.visit)
        begin = [raw("<figcaption>"), *begin, raw("</figcaption>")]
        inside = [*begin, *shown] if _kind(label) == "tbl" else [*shown, *begin]
        opening = f'<figure id="{html.escape(label)}" class="{html.escape(" ".join(["float", *classes]))}">'
        return [raw(opening), *inside, raw("</figure>")]


class _Linking:
    def __init__(self, numbers: dict[str, str], citable: set[str], page: str):
        self.numbers, self.citable, self.page = numbers, citable, page

    def link(self, blocks: list[Node]) -> list[Node]:
        return walk(blocks, self._in_prose)

    def _in_prose(self, node: Node) -> Node | list[Node] | None:
        if node["t"] == "Div" and "cell-output" in node["c"][0][1]:
            return {"t": "Div", "c": [node["c"][0], walk(node["c"][1], self._in_output)]}
        return self._reference(node) if node["t"] == "Cite" else None

    def _in_output(self, node: Node) -> Node | list[Node] | None:
        if node["t"] != "Cite":
            return None
        try:
            return self._reference(node)
        except PageError:
            return node["c"][1]

    def _reference(self, node: Node) -> list[Node] | None:
        citations, _ = node["c"]
        references = [citation for citation in citations if _kind(_lower(citation["citationId"]))]
        if not references:
            for citation in citations:
                if citation["citationId"] not in self.citable:
                    raise PageError(f"{self.page}: the citation @{citation['citationId']} is not in the bibliography.")
            return None
        if len(references) < len(citations):
            raise PageError(
                f"{self.page}: @{references[0]['citationId']} is in the same brackets as a citation: move it outside."
            )
        links: list[Node] = []
        for citation in references:
            links += [*words(", "), self._link(citation)] if links else [self._link(citation)]
        return links

    def _link(self, citation: dict) -> Node:
        label = _lower(citation["citationId"])
        number = self.numbers.get(label)
        if number is None:
            raise PageError(f"{self.page}: the reference @{label} points to nothing.")
        if citation["citationPrefix"]:
            text = [*self.link(citation["citationPrefix"]), *words(f"\u00a0{number}")]
        elif citation["citationMode"]["t"] == "SuppressAuthor":
            text = words(number)
        else:
            text = words(f"{_NAME[_kind(label)]}\u00a0{number}")
        return {"t": "Link", "c": [attributes("", "reference"), text, [f"#{label}", ""]]}


def _kind(label: str) -> str | None:
    match = _LABEL.match(label)
    return match[1] if match else None


def _lower(label: str) -> str:
    return label[:1].lower() + label[1:]
