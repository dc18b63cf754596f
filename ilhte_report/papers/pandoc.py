"""Markdown to Word and LaTeX by pandoc, which comes with pypandoc."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ilhte_lib.errors import IlhteError


def converted(markdown: str, to: str, *arguments: str, beside: dict[str, bytes] | None = None) -> bytes:
    """A document as pandoc writes it in the format `to` ("docx", "latex", "plain").

    Parameters
    ----------
    arguments : further arguments of pandoc.
    beside : files to which the document refers (figures, a bibliography), by name.

    Raises
    ------
    IlhteError : pandoc failed.
    """
    import pypandoc

    with tempfile.TemporaryDirectory() as folder:
        for name, content in (beside or {}).items():
            (Path(folder) / name).write_bytes(content)
        command = [pypandoc.get_pandoc_path(), "--from", "markdown", "--to", to, "--output", f"out.{to}", *arguments]
        done = subprocess.run(command, input=markdown, cwd=folder, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise IlhteError(f"pandoc could not write {to}: {' '.join(done.stderr.split())}")
        return (Path(folder) / f"out.{to}").read_bytes()
