"""Errors meant for the user; each message is one sentence with its remedy."""

from __future__ import annotations


class IlhteError(Exception):
    """Base of all errors meant for the user."""


class InputError(IlhteError):
    """The data cannot be used as they are; the message names the column, row or table and the remedy."""


class EngineError(IlhteError):
    """An engine is missing or could not fit; the message names the model and the remedy."""


def missing_module(error: ImportError) -> str | None:
    """Name of the module that is not installed; None if it is installed but failed to load, for lack of memory, say."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__  # pandas wraps such errors
    return None if cause is None else (cause.name or "").partition(".")[0]
