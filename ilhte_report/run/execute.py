"""Executing the notebook of one table with papermill, on this machine or by a worker on another one.

Nothing is written to the run's folder: the executed notebook and the document are returned, and the run writes
them. So a worker that is interrupted, or outlives the run that started it, can do no damage.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..project import slug
from .folder import FULL
from .key import code_sha256, directly_imported

if TYPE_CHECKING:
    from nbformat import NotebookNode

START_LIMIT = 120
"""Seconds a kernel may take to start, and a cell's output to arrive, on a busy machine."""

LONGEST_REASON = 500
LEAST_ROOM = 65_536
"""Free bytes below which a failure is attributed to a full disk: the kernel cannot write its files and gives no reason."""
OTHER_CODE = (
    "The worker's ilhte or its packages differ from those of the run: install the same versions there, or run again."
)
_WANT_OF_MEMORY = re.compile("[Cc]annot allocate memory|failed to map segment|not enough memory|std::bad_alloc")

# papermill's client logs every failure, which is reported here as a reason anyway
logging.getLogger("papermill").addHandler(logging.NullHandler())
# modules that import each other must not be imported by several threads at the same time
_IMPORTING = threading.Lock()


@dataclass(frozen=True)
class Task:
    """The task of a worker.

    Attributes
    ----------
    tab, title, input_sha256 : the table's name, the title of its page, the hash of its data.
    parameters : parameters of the notebook: table, profile, engine, max_persons, ...
    notebook : the text of ``fit_table.ipynb``.
    code : hash of the run's code; a worker with another version refuses the task.
    folder : the folder to which file names are relative.
    output : the run's folder, as written in the stored notebook; nothing is written there.
    limit : limit of wall time, seconds, or None.
    """

    tab: str
    title: str
    input_sha256: str
    parameters: dict[str, Any]
    notebook: str
    code: str
    folder: str
    output: str
    limit: float | None


@dataclass(frozen=True)
class Executed:
    """The result of a task: the texts of the document and of the executed notebook, or the reason for a failure."""

    seconds: float
    document: str | None = None
    notebook: str | None = None
    reason: str | None = None


def execute(task: Task) -> Executed:
    """Execute the notebook of one table in its own kernel; any failure is returned as the ``reason``."""
    clock = time.perf_counter()
    if code_sha256(task.notebook, task.parameters["engine"]) != task.code:
        return Executed(0.0, reason=OTHER_CODE)
    try:
        with tempfile.TemporaryDirectory(prefix="ilhte-", ignore_cleanup_errors=True) as scratch:
            try:
                document, notebook = _executed(task, Path(scratch), clock)
            except Exception as failure:
                seconds = time.perf_counter() - clock
                return Executed(seconds, reason=_reason(failure, task, seconds, Path(scratch)))
    except OSError as failure:
        return Executed(time.perf_counter() - clock, reason=_no_scratch(failure))
    return Executed(time.perf_counter() - clock, document, notebook)


class _Changed(Exception):
    pass


def _executed(task: Task, scratch: Path, clock: float) -> tuple[str, str]:
    with _IMPORTING:
        import nbformat
        import papermill

        from .kernel import kernel_options

    def seconds_left(_cell: object = None) -> float | None:
        return None if task.limit is None else max(task.limit - (time.perf_counter() - clock), 0.001)

    prepared = scratch / "notebook.ipynb"
    prepared.write_text(_titled(task), encoding="utf-8")
    here = {"metadata": {"path": task.folder}} if Path(task.folder).is_dir() else {}
    notebook = papermill.execute_notebook(
        str(prepared),
        None,
        parameters={**task.parameters, "output": str(scratch)},
        progress_bar=False,
        start_timeout=min(START_LIMIT, int(task.limit or START_LIMIT) + 1),
        iopub_timeout=START_LIMIT,
        timeout_func=seconds_left,
        resources=here,
        **kernel_options(str(scratch), task.code, directly_imported(task.notebook)),
    )
    document = (scratch / "fits" / f"{slug(task.tab)}.json").read_text(encoding="utf-8")
    if json.loads(document)["provenance"]["input_sha256"] != task.input_sha256:
        raise _Changed
    return document, nbformat.writes(_kept(notebook, task)) + "\n"


def _titled(task: Task) -> str:
    """The notebook with the table's title in its front matter, quoted as in JSON, so that no name can break the YAML."""
    notebook = json.loads(task.notebook)
    front = {"title": task.title, "subtitle": task.tab}
    notebook["cells"][0]["source"] = "---\n" + "\n".join(f"{k}: {_yaml_text(v)}" for k, v in front.items()) + "\n---"
    return json.dumps(notebook)


def _yaml_text(text: str) -> str:
    """A name as YAML: like JSON, except that a character beyond 16 bits is one escape instead of a pair of surrogates."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(f"\\U{ord(c):08X}" if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in whole).join('""')


def _kept(notebook: NotebookNode, task: Task) -> NotebookNode:
    """The notebook to be stored, with the run's folder in place of the temporary one in which it was executed."""
    from papermill.translators import PythonTranslator

    parameters = {**task.parameters, "output": task.output}
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = PythonTranslator.codify(parameters)
    about = notebook.metadata.papermill
    about["parameters"] = parameters
    about["input_path"], about["output_path"] = "fit_table.ipynb", f"{slug(task.tab)}.ipynb"
    return notebook


def _reason(failure: Exception, task: Task, seconds: float, scratch: Path) -> str:
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    from .kernel import LOG

    name, message = type(failure).__name__, str(failure)
    if isinstance(failure, PapermillExecutionError):
        name, message = failure.ename, failure.evalue
    if name in ("InputError", "EngineError", "IrwError"):
        return message
    if task.limit is not None and seconds >= task.limit:
        return f"It took longer than the limit of {task.limit:g} s: give it more time with --timeout."
    # a kernel without memory for an error message leaves none
    speechless = name == "CellExecutionError" and not message.strip()
    words = _last_line(scratch / LOG)
    want_of_memory = "MemoryError" in name or _WANT_OF_MEMORY.search(f"{message} {words}")
    if isinstance(failure, DeadKernelError) or speechless or want_of_memory:
        return "Its kernel died, most often because memory ran out: fit it alone (--jobs 1) or on a larger machine."
    if isinstance(failure, _Changed):
        return "The table's data changed while it was being read: run it again."
    if name == "OSError" and re.match(rf"\[Errno ({'|'.join(map(str, FULL))})\]", message):
        return _no_scratch(OSError(errno.ENOSPC, ""))
    if shutil.disk_usage(scratch).free < LEAST_ROOM:
        return _no_scratch(OSError(errno.ENOSPC, ""))
    text = " ".join(f"{name}: {message}{f' ({words})' if words else ''}".split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _no_scratch(failure: OSError) -> str:
    place = tempfile.gettempdir()
    if failure.errno in FULL:
        return f"There is no space for temporary files in {place}: free some, or name another folder in TMPDIR."
    return f"Temporary files cannot be written in {place} ({failure.strerror}): name another folder in TMPDIR."


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
