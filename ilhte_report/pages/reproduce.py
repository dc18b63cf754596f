"""How a result is had again: the command, and the notebook, that make it from the same file with the same options."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ilhte_lib.data.options import DataOptions

from ..run.key import Settings, fit_notebook


def command_line(file: str, data: DataOptions, **more: Any) -> str:
    """``ilhte fit FILE`` with every option that differs from its default, quoted for a POSIX shell.

    Parameters
    ----------
    file : as it is named on the command line.
    more : further options by name, ``bootstrap=99``; those that are None or 0 are left out.
    """
    words = ["ilhte", "fit", f"./{file}" if file.startswith("-") else file]
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
    """The notebook of one table, not yet executed, with its parameters set to this file and these options."""
    settings = Settings(data.profile, max_persons=data.max_persons, bootstrap=bootstrap)
    own = {name: value for name, value in data.changed().items() if name not in ("profile", "max_persons")}
    values = {
        "table": file,
        "profile": settings.profile,
        "engine": settings.engine,
        "max_persons": settings.max_persons,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "options": own,
        "name": tab if Path(file).name.partition(".")[0] != tab else None,
        "output": None,
    }
    content = json.loads(fit_notebook().read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    return json.dumps(content, indent=1) + "\n"
