"""Running a page's cells and inline values in one kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from ...words.markdown import escape_markdown
from ..front_matter import PageError
from .document import Cell, Document, Prose

_INLINE = re.compile(r"(?<!`)`\{python\}[ \t]+([^`]+)`(?!`)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def needs_kernel(document: Document) -> bool:
    if document.executed:
        return False
    return any(
        isinstance(part, Cell) or (isinstance(part, Prose) and _INLINE.search(part.text)) for part in document.parts
    )


def execute(document: Document, folder: Path, environment: Mapping[str, str], options: Mapping) -> None:
    """Run the cells in order in `folder`, keep their outputs and insert inline values into the prose.

    The kernel uses the running Python interpreter. A failing cell or value raises `PageError`.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError
    from nbformat.v4 import new_code_cell, new_notebook

    from ...run.kernel import TableKernel, kernel_options

    default = options.get("execute") or {}
    cells = [part for part in document.parts if isinstance(part, Cell)]
    notebook = new_notebook(cells=[new_code_cell(cell.source) for cell in cells])
    with ExitStack() as opened:
        kernel = kernel_options(opened.enter_context(TemporaryDirectory(prefix="ilhte-", ignore_cleanup_errors=True)))
        client = NotebookClient(
            notebook,
            km=TableKernel(config=kernel["config"]),
            allow_errors=True,
            timeout=None,
            shutdown_kernel=kernel["shutdown_kernel"],
            extra_arguments=kernel["extra_arguments"],
        )
        opened.enter_context(client.setup_kernel(cleanup_kc=True, cwd=str(folder), env=dict(environment)))
        for part in document.parts:
            if isinstance(part, Prose):
                part.text = _with_values(part.text, client, document.name)
            elif isinstance(part, Cell) and part.options.get("eval", default.get("eval", True)):
                index = cells.index(part)
                try:
                    part.outputs = client.execute_cell(notebook.cells[index], index).outputs
                except DeadKernelError:
                    raise PageError(f"{part.where} failed: the Python process ended.") from None
                _check(part)


def _check(cell: Cell) -> None:
    failure = next((output for output in cell.outputs if output["output_type"] == "error"), None)
    if failure and not cell.options.get("error"):
        raise PageError(f"{cell.where} failed: {_one_line(failure)}")


def _one_line(failure: Mapping) -> str:
    return _ANSI.sub("", f"{failure['ename']}: {' '.join(failure['evalue'].split())}")[:500]


def _with_values(text: str, client, name: str) -> str:
    expressions = [match[1].strip() for match in _INLINE.finditer(text)]
    if not expressions:
        return text
    request = client.kc.execute("", user_expressions={str(n): code for n, code in enumerate(expressions)})
    results = client.wait_for_reply(request)["content"]["user_expressions"]
    values = []
    for number, code in enumerate(expressions):
        result = results[str(number)]
        if result["status"] != "ok":
            raise PageError(f"{name}: the inline value `{{python}} {code}` failed: {_one_line(result)}")
        values.append(_value(result["data"]))
    given = iter(values)
    return _INLINE.sub(lambda _: next(given), text)


def _value(data: Mapping[str, str]) -> str:
    """An inline value as Quarto shows it: `Markdown(...)` as markup, everything else as plain text, strings without quotes."""
    if "text/markdown" in data:
        return data["text/markdown"]
    text = data["text/plain"]
    if re.match(r"""^(['"]).*\1$""", text, re.DOTALL):
        import ast

        text = ast.literal_eval(text)
    return escape_markdown(text)
