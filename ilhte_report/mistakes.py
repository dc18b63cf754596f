"""How a failing command ends: with one sentence, whatever went wrong, and a meaningful exit code."""

from __future__ import annotations

import codecs
import errno
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ilhte_lib import __version__
from ilhte_lib.errors import IlhteError, missing_module

from .words.printable import visible

MISTAKE, FAULT, INTERRUPTED, TERMINATED = 2, 1, 130, 143
"""Exit codes: a user's mistake, an error of ilhte or of the system, Ctrl-C, SIGTERM."""

NO_MEMORY = "There is not enough memory for this: close other programs, or use a machine with more."

EXTRAS = {
    "report": ("papermill", "nbclient", "nbformat", "ipykernel", "jupyter_client", "filelock", "plotly", "pyarrow", "yaml",
               "pypandoc", "IPython"),
    "large": ("duckdb",),
    "spark": ("pyspark", "py4j"),
    "irw": ("irw", "redivis", "requests", "platformdirs"),
    "cluster": ("distributed", "dask"),
    "formats": ("pyreadstat", "pyreadr", "openpyxl", "irw_validate"),
    "lme4": ("pymer4", "rpy2", "polars"),
    "app": ("shiny", "htmltools", "starlette", "uvicorn", "anyio"),
    "papers": ("great_tables", "kaleido", "matplotlib"),
}  # fmt: skip
"""Extra -> the packages it brings."""

_PLAIN = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "•": "*", "…": "...", "×": "x", "≥": ">=", "≤": "<=", "ρ": "rho", "σ": "sigma",
     "β": "beta", "ζ": "zeta", "θ": "theta", "‘": "'", "’": "'", "“": '"', "”": '"'}
)  # fmt: skip


def told_in_a_sentence(command: Callable[[], object]) -> int:
    """Run a command line and return its exit code; errors are reported on standard error in one sentence."""
    _prepare_streams()
    if not sys.warnoptions:
        # warnings of pandas and NumPy are for developers: python -W default shows them
        warnings.simplefilter("ignore")
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _terminate)
    try:
        os.getcwd()
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else FAULT
    except KeyboardInterrupt:
        code = _tell("Interrupted.", INTERRUPTED)
    except Exception as error:
        # a signal in the middle of an import can make any later import fail, which is not an error
        code = TERMINATED if _told_to_end else _code_of(error)
    return _flushed(code)


_told_to_end: list[int] = []
"""The number of the signal that asked this process to end, if there was one."""


def _code_of(error: Exception) -> int:
    """Report what went wrong and return the exit code: 0 if the reader of the output merely closed it."""
    return _left_alone() if isinstance(error, BrokenPipeError) else _tell(*judged(error))


def judged(error: Exception) -> tuple[str, int]:
    """What went wrong, in one sentence, and the exit code; for an error of ilhte a report file is written."""
    match error:
        case IlhteError():
            return str(error), MISTAKE
        case ImportError():
            return _missing_package(error)
        case MemoryError():
            return NO_MEMORY, FAULT
        case OSError():
            return _system_error(error)
        case _:
            return _unexpected(error)


def _prepare_streams() -> None:
    """Let characters that a stream's encoding lacks be replaced by plain ones instead of raising an error."""
    codecs.register_error("ilhte.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="ilhte.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "replace").decode("ascii"), error.end


def _terminate(number: int, frame: object) -> NoReturn:
    _told_to_end.append(number)
    raise SystemExit(TERMINATED)


def _tell(sentence: str, code: int) -> int:
    with suppress(OSError, ValueError):
        print(f"ilhte: {visible(sentence)}", file=sys.stderr, flush=True)
    return code


def _left_alone() -> int:
    """The reader of the output has closed it, which is not an error; keep Python from flushing it again at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _flushed(code: int) -> int:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return _left_alone() or code
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        _tell(f"Standard output cannot be written ({reason}): the printed text is incomplete.", FAULT)
        _left_alone()
        return code or FAULT
    return code


def _missing_package(error: ImportError) -> tuple[str, int]:
    if re.search("cannot allocate memory|failed to map segment", str(error), re.IGNORECASE):
        return NO_MEMORY, FAULT
    name = missing_module(error)
    for extra, packages in EXTRAS.items():
        if name in packages:
            return f'This needs the package {name}, which is not installed: pip install "ilhte[{extra}]".', MISTAKE
    return _unexpected(error)


def _system_error(error: OSError) -> tuple[str, int]:
    place = visible(str(error.filename)) if error.filename else "standard output or a file"
    if isinstance(error, PermissionError):
        return f"{place} cannot be written or read: check its permissions.", MISTAKE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"There is no space left on the disk ({place}): free some and repeat the command.", FAULT
    if error.errno == errno.ENAMETOOLONG:
        return "The name of a file is longer than this system allows: give it a shorter one.", MISTAKE
    if error.filename and error.errno in (errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO):
        return f"{place} cannot be written or read ({error.strerror}): name another place.", MISTAKE
    try:
        os.getcwd()
    except OSError:
        return "The current folder was deleted or moved: change to one that exists.", MISTAKE
    return _unexpected(error)


def _unexpected(error: BaseException) -> tuple[str, int]:
    """An error of ilhte: one sentence that names the file with a full report."""
    last = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1][:300]
    report = "\n".join(
        [
            f"ilhte {__version__}, Python {sys.version}",
            f"called as: {sys.argv!r}",
            "",
            "".join(traceback.format_exception(type(error), error, error.__traceback__)),
        ]
    )
    try:
        handle, name = tempfile.mkstemp(prefix="ilhte-report-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(report)
    except OSError:
        return f"An unexpected error, and no report of it could be written: {last}", FAULT
    return f"An unexpected error ({last}); please send the report {name} to the authors.", FAULT
