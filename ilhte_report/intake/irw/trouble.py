"""Errors in the communication with the Item Response Warehouse (IRW), classified, with one sentence for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ilhte_lib.errors import IlhteError
from ilhte_lib.messages import quoted


class IrwError(IlhteError):
    """The IRW, or one table of it, cannot be fetched; the message says why and what to do.

    ``of_one_table`` says whether other tables may still be fetched.
    """

    def __init__(self, message: str, of_one_table: bool = False) -> None:
        super().__init__(message)
        self.of_one_table = of_one_table


class BrokenOff(Exception):
    """The client returned no rows or not all of them; the message is its explanation."""


SENTENCES = {
    "quota": "Redivis, which hosts the IRW, refuses further downloads for now because your quota or rate limit is used up"
    " ({detail}): wait until it renews (exports are counted over 30 days) and run the same command again.",
    "credentials": "Redivis does not accept your credentials ({detail}): make an API token in your account there and set"
    " it as REDIVIS_API_TOKEN, or, without one, sign in when the browser opens.",
    "forbidden": "Redivis does not let your account read {what} ({detail}): ask for access on its page there.",
    "absent": "Redivis has no {what} ({detail}): check the name, and the IRW version if you gave one.",
    "refused": "Redivis refuses to give {what} ({detail}): report it on itemresponsewarehouse.org.",
    "unavailable": "Redivis has a fault of its own ({detail}): try again later.",
    "slow": "Redivis ({host}) did not answer in time after repeated attempts: try again later.",
    "unreachable": "Redivis ({host}) cannot be reached or drops the connection: check the network and any proxy.",
    "broken": "The download of {what} broke off each time and nothing was kept ({detail}): try again later.",
    "other": "{what} cannot be read ({detail}): check that the packages irw and redivis are up to date.",
}
PASSING = {"unavailable", "slow", "unreachable", "broken"}
OF_ONE_TABLE = {"forbidden", "absent", "refused", "broken", "other"}

_QUOTA = re.compile(r"export quota|rate.?limit|cannot export more than|too many requests", re.IGNORECASE)
_CUT_STREAM = re.compile(r"expected to (be able to )?read|tried reading|null or length 0|incomplete", re.IGNORECASE)


@dataclass(frozen=True)
class Trouble:
    """A classified error.

    Attributes
    ----------
    kind : a key of ``SENTENCES``.
    detail : the message of the service or the client, one printable line.
    """

    kind: str
    detail: str

    @property
    def passing(self) -> bool:
        """Whether a repeated attempt may help."""
        return self.kind in PASSING

    @property
    def of_one_table(self) -> bool:
        """Whether other tables may still be fetched."""
        return self.kind in OF_ONE_TABLE

    def told(self, table: str | None = None) -> IrwError:
        """The error for the user; ``table`` is the requested table, None for the IRW's catalogue."""
        what = f"the IRW table {quoted(table)}" if table else "the catalogue of the IRW"
        host = urlsplit(os.environ.get("REDIVIS_API_ENDPOINT", "https://redivis.com")).hostname
        sentence = SENTENCES[self.kind].format(what=what, detail=self.detail, host=host)
        return IrwError(sentence[0].upper() + sentence[1:], of_one_table=self.of_one_table and table is not None)


def trouble_of(error: BaseException) -> Trouble:
    """Classify an exception raised by the client, or its cause."""
    for cause in _causes(error):
        kind = _kind(cause)
        if kind:
            return Trouble(kind, one_line(cause))
    return Trouble("other", one_line(error))


def one_line(error: BaseException) -> str:
    """An exception's text as one printable line of at most 200 characters."""
    text = " ".join(str(error).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return (text if len(text) <= 200 else text[:197] + "...") or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _kind(error: BaseException) -> str | None:
    import redivis
    import requests

    status = error.status_code if isinstance(error, redivis.exceptions.APIError) else None
    text = str(error)
    if status == 429 or _QUOTA.search(text):
        return "quota"
    if status:
        named = {401: "credentials", 403: "forbidden", 404: "absent"}.get(status)
        return named or ("unavailable" if status >= 500 else "refused")
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return "slow"
    if isinstance(error, (BrokenOff, redivis.exceptions.NetworkError, requests.exceptions.ChunkedEncodingError)):
        return "broken"
    if isinstance(error, (requests.ConnectionError, ConnectionError)):
        return "unreachable"
    return "broken" if _CUT_STREAM.search(text) else None
