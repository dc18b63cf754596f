"""The reference page: the library's public names with their docstrings, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ilhte_lib

from ..words.markdown import code_block, escape_markdown

if TYPE_CHECKING:
    from IPython.display import Markdown

ROOMS = ("analysis", "model", "data", "engine", "inference", "figures")
"""The stages of the library in the order of the page; the first is its main interface."""
_WIDTH = 80  # characters that fit beside the list of contents
Named = ast.FunctionDef | ast.ClassDef


def reference() -> Markdown:
    """Every public function and class of the library, module by module."""
    from IPython.display import Markdown

    return Markdown("\n".join(_lines()))


def anchor(module: str) -> str:
    """The anchor of a module on the page: "inference.profile" has ``inference-profile``."""
    return module.replace(".", "-").replace("_", "-")


def _lines() -> Iterator[str]:
    package = Path(ilhte_lib.__file__).parent
    for room in ROOMS:
        for file in sorted((package / room).glob("*.py")) if (package / room).is_dir() else [package / f"{room}.py"]:
            module = ".".join(file.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(file.read_text(encoding="utf-8"))
            level = "##" if module == room else "###"
            yield f"\n{level} {escape_markdown(f'ilhte_lib.{module}')} {{#{anchor(module)}}}\n"
            yield from _prose(ast.get_docstring(tree) or "")
            for node in tree.body:
                if isinstance(node, Named) and not node.name.startswith("_"):
                    yield from _entry(node, "")
                    methods = node.body if isinstance(node, ast.ClassDef) else []
                    for method in methods:
                        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                            yield from _entry(method, f"{node.name}.")


def _entry(node: Named, owner: str) -> Iterator[str]:
    text = ast.get_docstring(node)
    if text is None:
        return
    written = _arguments(node.args) if isinstance(node, ast.FunctionDef) else ""
    arguments = f"({written})" if isinstance(node, ast.FunctionDef) else ""
    returns = f" -> {ast.unparse(node.returns)}" if isinstance(node, ast.FunctionDef) and node.returns else ""
    is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
    kind = "class " if isinstance(node, ast.ClassDef) else ""
    if len(owner + node.name + arguments + returns) > _WIDTH:
        arguments = "(\n" + "".join(f"    {one},\n" for one in _one_by_one(written)) + ")"
    yield "\n" + code_block(f"{kind}{owner}{node.name}{'' if is_property else arguments}{returns}", "python") + "\n"
    yield from _prose(text)


def _arguments(arguments: ast.arguments) -> str:
    """The arguments as in the source, without ``self`` or ``cls``."""
    written = ast.unparse(arguments)
    first, _, rest = written.partition(", ")
    return rest if first in ("self", "cls") else "" if written in ("self", "cls") else written


def _one_by_one(written: str) -> Iterator[str]:
    """The arguments, split at commas outside brackets."""
    one, depth = "", 0
    for part in written.split(", "):
        one += (", " if depth else "") + part
        depth += sum(part.count(c) for c in "[({") - sum(part.count(c) for c in "])}")
        if not depth:
            yield one
            one = ""


def _prose(text: str) -> Iterator[str]:
    """The first paragraphs as prose; from the first list of parameters or attributes on, the text as laid out."""
    prose, laid_out = [], ""
    for paragraph in text.split("\n\n"):
        if laid_out or "\n---" in paragraph or paragraph.startswith("    "):
            laid_out += ("\n\n" if laid_out else "") + paragraph
        else:
            prose.append(paragraph)
    # text between double backticks is code
    pieces = "\n\n".join(prose).split("``")
    yield "".join(f"`{piece}`" if k % 2 else _escaped(piece) for k, piece in enumerate(pieces))
    if laid_out:
        yield "\n" + code_block(laid_out, "text")


def _escaped(text: str) -> str:
    """Paragraphs of plain text, escaped, with the spaces at their ends."""
    paragraphs = [
        "".join((" " * p[:1].isspace(), escape_markdown(p), " " * p[-1:].isspace())) for p in text.split("\n\n")
    ]
    return "\n\n".join(paragraphs)
