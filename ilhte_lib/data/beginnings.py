"""A file's format by its first bytes, so that a wrong ending is not reported as damage."""

from __future__ import annotations

from pathlib import Path

_BEGINNINGS = (
    (b"PAR1", "a Parquet file", (".parquet",)),
    (b"PK\x03\x04", "an Excel workbook or another zip archive", (".xlsx",)),
    (b"$FL2@(#)", "an SPSS file", (".sav",)),
    (b"<stata_dta>", "a Stata file", (".dta",)),
    (b"\x1f\x8b", "a gzip file", (".csv.gz", ".tsv.gz", ".rds")),
    (b"X\n\x00\x00\x00", "an R file", (".rds",)),
)
_TEXT = (".csv", ".tsv")
_LENGTH = 512


def other_format(path: Path, ending: str) -> str | None:
    """If the first bytes contradict the ending: what the file is and the right ending, half a sentence; else None."""
    with path.open("rb") as stream:
        content = stream.read(_LENGTH)
    for beginning, what, endings in _BEGINNINGS:
        # a text file may have a first column called PAR1
        if content.startswith(beginning) and not (ending in _TEXT and _is_text(content)):
            return None if ending in endings else f"{what} by its first bytes: give it the ending {_either(endings)}"
    is_text = _is_text(content)
    if is_text and ending.endswith(".gz"):
        return f"text that is not compressed: give it the ending {ending.removesuffix('.gz')}"
    if is_text and ending in (".parquet", ".dta", ".sav", ".xlsx"):
        return "text by its first bytes: give it the ending .csv if it is a table of separated fields"
    return None


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join([", ".join(endings[:-1]), endings[-1]] if len(endings) > 1 else endings)


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(content) - 3:  # otherwise only the last character is cut off
            return False
        text = content[: error.start].decode("utf-8")
    has_lines = "\n" in text or "\r" in text  # without a line break it may be the beginning of anything
    return has_lines and all(letter.isprintable() or letter.isspace() or letter == "\ufeff" for letter in text)
