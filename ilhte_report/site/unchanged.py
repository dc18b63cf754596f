"""Whether anything has changed since a site was rendered; if not, it is not rendered again.

Dependencies of single pages are not tracked: the whole site is rendered again if any file of the project, the run, the program,
the installed packages or the site itself has a new size or time, or was added or removed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from ilhte_lib.files import write_text

STAMP = ".rendered"
"""File in the site's folder with the state of its inputs."""
_NOT_READ = {"results", "__pycache__", "node_modules"}
"""Folders that are ignored, like hidden ones; of the runs, only the one that pages read matters, which is checked separately."""
_PROGRAM = Path(__file__).parents[1]


def state_of(program: str | None) -> str:
    """The state of a program: its path, size and time; "" for none."""
    if program is None:
        return ""
    try:
        found = os.stat(program)
    except OSError:
        return program
    return f"{program} {found.st_size} {found.st_mtime_ns}"


class Inputs:
    """The inputs of a site, in their current state.

    Parameters
    ----------
    project, site, run : folders; ``site`` is the output.
    renderer : the state of the renderer, from ``state_of``.
    """

    def __init__(self, project: Path, site: Path, run: Path, renderer: str) -> None:
        self._project, self._site, self._run, self._renderer = project, site, run, renderer

    def unchanged(self) -> bool:
        """Whether the site was rendered from exactly these inputs and has not been changed since."""
        try:
            return (self._site / STAMP).read_text(encoding="utf-8") == self._stamp()
        except OSError:
            return False

    def sources(self) -> str:
        """The state of the inputs that rendering does not write."""
        return self._hash(written=False)

    def keep(self) -> None:
        """Record that the site was rendered from these inputs."""
        write_text(self._site / STAMP, self._stamp())

    def _stamp(self) -> str:
        return self._hash(written=True)

    def _hash(self, *, written: bool) -> str:
        ours = {self._project / "assets", self._project / "tables", self._site}
        digest = hashlib.sha256(self._renderer.encode())
        for name, value in sorted(os.environ.items()):
            if name.startswith(("QUARTO_", "ILHTE_")):
                digest.update(f"{name}={value}\n".encode("utf-8", "surrogateescape"))
        packages = sorted(name for name in os.listdir(sysconfig.get_path("purelib")) if name.endswith(".dist-info"))
        digest.update("\n".join([sys.version, *packages]).encode())
        folders = [
            self._project,
            self._run,
            *([self._site] if written else []),
            _PROGRAM,
            _PROGRAM.parent / "ilhte_lib",
        ]
        for folder in folders:
            for path, state in _states(folder, set() if written else ours):
                digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _states(folder: Path, but: set[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Every file of a folder with its size and time, in a fixed order, without hidden files and without the folders ``but``."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in _NOT_READ and name[0] != "." and Path(here, name) not in but
        )
        for name in sorted(names):
            path = os.path.join(here, name)
            if name[0] != "." or name == ".ilhte-project":
                yield path, os.lstat(path) if os.path.islink(path) else os.stat(path)
