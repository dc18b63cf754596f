"""The two ways a table or a fit can fail, each told to the user in one sentence."""

from __future__ import annotations


class IlhteError(Exception):
    """Base of every error meant to be read by a user: the message is one clear sentence with its remedy."""


class InputError(IlhteError):
    """The data cannot be used as they are; the message names the column, row or table and what to do."""


class EngineError(IlhteError):
    """An engine is missing or could not fit; the message names the model and what to do."""


def missing_module(error: ImportError) -> str | None:
    """The module that is not installed; None if it is and could not be loaded, as for want of memory."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__  # pandas wraps such errors
    return None if cause is None else (cause.name or "").partition(".")[0]
