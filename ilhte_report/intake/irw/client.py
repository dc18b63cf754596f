"""The Item Response Warehouse (IRW) through its Python client, ``irw``, with informative errors.

The IRW's tables are stored in several data sets of Redivis. The client reports every problem as "no table": it skips data
sets that it cannot open or list, and returns None after a refusal as after a time-out. Therefore
a table is first looked up at Redivis itself, which gives the true reason, and also the table's release and content
hash; its rows, the selection of tables and the citations come from the client.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.messages import listed, quoted

from .trouble import BrokenOff, IrwError, one_line, trouble_of

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

FEWEST_PARTICIPANTS = 100


@dataclass(frozen=True)
class Download:
    """A table as downloaded from the IRW.

    Attributes
    ----------
    name : the table's name, as spelt by the IRW.
    frame : the rows.
    reference : the full name at Redivis, with the data set's release.
    content_hash : Redivis' hash of the content; None if there is none.
    bibtex : the citations, the first with the table's name as key; empty if the IRW has none.
    """

    name: str
    frame: pd.DataFrame
    reference: str
    content_hash: str | None
    bibtex: tuple[str, ...]


@contextlib.contextmanager
def open_warehouse(irw_version: int | None, pauses: Sequence[float]) -> Iterator[Warehouse]:
    """The IRW at one version, by default the newest; ``pauses`` are the seconds to wait before repeated attempts.

    Raises
    ------
    EngineError : the client is not installed.
    InputError : there is no such version.
    IrwError : the IRW cannot be reached or used.
    """
    with _quiet_client() as (irw, said):
        warehouse = Warehouse(irw, pauses, said)
        try:
            warehouse.open(irw_version)
            yield warehouse
        finally:
            with _unheard():
                irw.reset_version()


class Warehouse:
    """The IRW while its client is in use; created by ``open_warehouse``. ``version`` is None if it is unknown."""

    def __init__(self, irw: ModuleType, pauses: Sequence[float], said: list[warnings.WarningMessage]) -> None:
        self._irw, self._pauses, self._said = irw, pauses, said
        self.version: int | None = None
        self._tags: dict[str, str] = {}
        self._datasets: list[Any] = []
        self._closed: list[Exception] = []

    def download(self, name: str) -> Download:
        """A table with its citations.

        Raises
        ------
        InputError : there is no such table.
        IrwError : it cannot be fetched.
        """
        handle = self._insist(lambda: self._locate(name), name)
        if handle is None:
            raise self._unknown(name)
        frame = self._insist(lambda: self._rows(handle), name)
        entries = self._insist(lambda: self._irw.save_bibtex(handle.name), name)
        return Download(
            handle.name, frame, handle.qualified_reference, handle.properties.get("hash"), tuple(map(str, entries))
        )

    def rct_tables(self) -> list[str]:
        """Names of the tables with a ``treat`` column and at least 100 participants: the vignette's selection."""
        return self._insist(self._rct_tables)

    def open(self, irw_version: int | None) -> None:
        """Choose the version and open its data sets."""
        try:
            with _unheard():
                self.version = self._irw.version(version=irw_version).attrs["irw_version"]
        except ValueError as error:
            raise InputError(f"IRW version {irw_version} cannot be read: {one_line(error)}") from error
        except RuntimeError as error:
            if irw_version is not None:
                raise IrwError(
                    f"The list of IRW versions cannot be downloaded ({one_line(error)}): check the network, or leave the "
                    "version out to read the current release."
                ) from error
        self._insist(self._pin)
        self._insist(self._open_datasets)

    def _insist(self, action: Callable[[], T], table: str | None = None) -> T:
        for pause in [*self._pauses, None]:
            try:
                with _no_bars():
                    return action()
            except (InputError, IrwError):
                raise
            except Exception as error:
                trouble = trouble_of(error)
                if pause is None or not trouble.passing:
                    raise trouble.told(table) from error
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pin(self) -> None:
        """Fix every data set at its release in this version; the client also forgets which it could open."""
        if self.version is None:
            with _unheard():
                self._irw.reset_version()
        else:
            with _unheard():
                pins = self._irw.use_version(self.version, quiet=True)
            self._tags = {d: t for d, t in zip(pins["dataset"], pins["version"], strict=True) if isinstance(t, str)}

    def _open_datasets(self) -> None:
        import redivis

        self._datasets, self._closed = [], []
        for user, reference in reversed(self._irw.config.MAIN_REFS):
            tag = self._tags.get(reference.split(":")[0])
            if tag is None and self.version is not None:
                continue
            try:
                self._datasets.append(redivis.user(user).dataset(reference, version=tag).get())
            except Exception as error:
                if trouble_of(error).kind not in ("absent", "forbidden", "refused"):
                    raise
                self._closed.append(
                    error
                )  # a data set before its first release answers so; the others can still be used
        if self._closed and not self._datasets:
            raise self._closed[0]

    def _names(self) -> set[str]:
        return {table.name for dataset in self._datasets for table in dataset.list_tables()}

    def _locate(self, name: str) -> Any | None:
        import redivis

        for dataset in self._datasets:
            with contextlib.suppress(redivis.exceptions.NotFoundError):
                return dataset.table(name).get()
        return None

    def _rows(self, handle: Any) -> pd.DataFrame:
        said_before = len(self._said)
        frame = self._irw.fetch(handle.name)
        if frame is not None and len(frame) == int(handle.properties.get("numRows") or len(frame)):
            return frame
        handle.to_arrow_table(1, progress=False)  # raises the error that the client suppresses
        self._pin()
        raise BrokenOff(" ".join(str(warning.message) for warning in self._said[said_before:]))

    def _rct_tables(self) -> list[str]:
        chosen = self._irw.filter(var="treat", n_participants=[FEWEST_PARTICIPANTS, None], density=None)
        if not self._names() <= set(self._irw.filter(density=None)):
            self._pin()
            raise BrokenOff("the client did not list every data set")
        return list(chosen)

    def _unknown(self, name: str) -> InputError:
        names = {known.lower(): known for known in self._insist(self._names)}
        near = [names[match] for match in get_close_matches(name.lower(), names, n=3)]
        where = "the IRW" if self.version is None else f"version {self.version} of the IRW"
        if self._closed:
            where += f" (without {len(self._closed)} of its data sets: {one_line(self._closed[0])})"
        hint = f"did you mean {listed(near, 3)}?" if near else "itemresponsewarehouse.org lists its tables."
        return InputError(f"There is no table {quoted(name)} in {where}: {hint}")


def _unheard() -> contextlib.AbstractContextManager:
    """Suppress what the client prints about versions and pins."""
    return contextlib.redirect_stdout(None)


def _no_bars() -> contextlib.AbstractContextManager:
    """Suppress the client's progress bars unless standard error is a terminal: elsewhere they are control characters."""
    return contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def _quiet_client() -> Iterator[tuple[ModuleType, list[warnings.WarningMessage]]]:
    """The client and its warnings; its output goes to standard error, its log is discarded."""
    log, hook, token = logging.getLogger("irw"), sys.excepthook, os.environ.get("REDIVIS_API_TOKEN")
    propagate, silent = log.propagate, logging.NullHandler()
    try:
        with warnings.catch_warnings():  # restores how warnings are shown, which the import changes
            import irw
    except ImportError as error:
        raise EngineError('IRW tables need the package irw: pip install "ilhte[irw]".') from error
    finally:
        sys.excepthook = hook
    irw.disable_source_note()  # the source it asks to cite is among the citations
    with warnings.catch_warnings(record=True) as said, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        log.addHandler(silent)
        log.propagate = False
        try:
            if token is None and not sys.stdin.isatty():
                # empty: anonymous or with stored credentials, but without waiting for a sign-in
                os.environ["REDIVIS_API_TOKEN"] = ""
            yield irw, said
        finally:
            log.removeHandler(silent)
            log.propagate = propagate
            if token is None:
                os.environ.pop("REDIVIS_API_TOKEN", None)
