"""Reproducing a result: the command, and the notebook, that compute it from the same file with the same options."""

from __future__ import annotations

import json
import shlex
from typing import Any

from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.read import source_name

from ..run.key import fit_notebook


def command_line(file: str, data: DataOptions, *, command: str = "fit", **more: Any) -> str:
    """``ilhte fit FILE`` with every option that differs from its default, quoted for a POSIX shell.

    Parameters
    ----------
    file : the table as named on the command line.
    command : the command, if not "fit".
    more : further options by name, such as ``bootstrap=99``; those that are None or 0 are left out.
    """
    words = ["ilhte", command, f"./{file}" if file.startswith("-") else file]
    for name, value in (*data.changed().items(), *more.items()):
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
            continue
        for one in value if isinstance(value, list) else [value]:
            if one is None or (name in more and not one):
                continue
            text = str(one)
            words += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return " ".join(shlex.quote(word) for word in words)


def notebook(file: str, tab: str, data: DataOptions, *, bootstrap: int = 0) -> str:
    """The notebook of one table, not executed, with its parameters set to this file and these options."""
    own = {name: value for name, value in data.changed().items() if name not in ("profile", "max_persons")}
    values = {
        "table": file,
        "profile": data.profile,
        "max_persons": data.max_persons,
        "bootstrap": bootstrap,
        "options": own,
        "name": tab if source_name(file) != tab else None,
    }
    content = json.loads(fit_notebook().read_text(encoding="utf-8"))
    cells = content["cells"]
    at = next(n for n, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", []))
    # below the defaults, as papermill does, so that other parameters keep theirs
    given = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    empty = {"cell_type": "code", "execution_count": None, "id": "given", "outputs": []}
    cells.insert(at + 1, {**empty, "metadata": {"tags": ["injected-parameters"]}, "source": given})
    return json.dumps(content, indent=1) + "\n"
