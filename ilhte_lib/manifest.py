"""The record of what ilhte wrote into a folder, so that it replaces and removes nothing else.

Every folder that ilhte writes into carries ``.ilhte-manifest.json``: file names relative to the folder, each with the SHA-256
checksums of what was written there. A file that is not listed, or whose content has changed since, belongs to the user.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError
from .files import sha256_of
from .messages import counted, listed

MANIFEST = ".ilhte-manifest.json"
EMPTY_OR_OURS = "name an empty folder, or one that ilhte wrote before."
"""The usual remedy for a folder that ilhte did not write."""
_FORMAT = "ilhte manifest 1"
_EDITED = re.compile(r"\.edited-[0-9]+$")
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", ".lock", f"{MANIFEST}.tmp"}
"""Files that do not make a folder count as used: those of the operating system, a run's lock, an unfinished manifest."""


class Manifest:
    """A folder that ilhte writes into.

    Each file is listed with its checksum before it is written, so that whatever a killed process leaves behind is recognised
    by the next one.

    Attributes
    ----------
    folder : the folder.
    written : name -> checksums of what ilhte wrote there.
    kept : paths of files that the user had edited and that were kept, in order, for a message.
    """

    def __init__(self, folder: Path, written: dict[str, list[str]]) -> None:
        self.folder = folder
        self.written = written
        self.kept: list[Path] = []

    @classmethod
    def open(
        cls, folder: Path, remedy: str, adopt: Callable[[Path], dict[str, list[str]]] = lambda folder: {}
    ) -> Manifest:
        """The manifest of a folder, which is created if it does not exist.

        Parameters
        ----------
        folder : the folder.
        remedy : what to do if ilhte did not write it, the end of the message.
        adopt : for a folder without manifest, what an earlier version is known to have written there: name -> checksums.

        Raises
        ------
        InputError : it holds files but no manifest, is not a folder, or cannot be created.
        """
        written = read_manifest(folder)
        if written is None:
            written = adopt(folder) if folder.is_dir() else {}
            if not written:
                refuse_foreign(folder, remedy)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be made ({error.strerror}): {remedy}") from error
        manifest = cls(folder, written)
        manifest._sweep()
        if read_manifest(folder) != written:
            manifest._save()
        return manifest

    def refuse_collisions(self, names: list[str], remedy: str) -> None:
        """Raise InputError if a file that ilhte did not write is in the place of one of these."""
        standing = [name for name in names if name not in self.written and os.path.lexists(self.folder / name)]
        if standing:
            files = counted(len(standing), "file stands", "files stand")
            raise InputError(
                f"In {self.folder}, {files} in the way that ilhte did not write ({listed(standing, 3)}): {remedy}"
            )

    def refuse_others(self, remedy: str) -> None:
        """Raise InputError if the folder holds files that ilhte did not write, other than edited ones kept under new names."""
        others = [
            path.relative_to(self.folder).as_posix()
            for path in sorted(self.folder.rglob("*"))
            if not path.is_dir() and path.name not in _LITTER | {MANIFEST} and not _EDITED.search(path.name)
        ]
        others = [name for name in others if name not in self.written]
        if others:
            holds = counted(len(others), "file", "files")
            raise InputError(f"{self.folder} holds {holds} that ilhte did not write ({listed(others, 3)}): {remedy}")

    def write(self, name: str, content: bytes) -> Path:
        """Write a file atomically; a file that already has this content is left alone.

        A file of ours that the user has edited since is kept beside it under another name (``kept``).

        Raises
        ------
        InputError : a file that ilhte did not write is in its place.
        """
        target, digest = self.folder / name, hashlib.sha256(content).hexdigest()
        state = self._state(name)
        if state == digest:
            if name not in self.written:
                raise_in_the_way(target)
            return target
        known = self.written.get(name)
        if state is not None and known is None:
            raise_in_the_way(target)
        if state is not None and known is not None and state not in known:
            self._keep(target)
        self.written[name] = [*(known or ())[-1:], digest]
        self._save()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary(name, digest)
        try:
            _write_through(temporary, content)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def write_text(self, name: str, text: str) -> Path:
        """``write`` in UTF-8."""
        return self.write(name, text.encode("utf-8"))

    def remove(self, name: str) -> None:
        """Remove a file of ours; one that was edited since stays and belongs to the user from now on (``kept``)."""
        known = self.written.get(name)
        if known is None:
            return
        state = self._state(name)
        if state in known:
            (self.folder / name).unlink()
        elif state is not None:
            self.kept.append(self.folder / name)
        del self.written[name]
        self._save()

    def keep_only(self, names: set[str]) -> None:
        """Remove every file of ours that is not among these."""
        for name in [name for name in self.written if name not in names]:
            self.remove(name)

    def _state(self, name: str) -> str | None:
        """Checksum of the file now there, "" if it cannot be read; None if there is none."""
        path = self.folder / name
        if not os.path.lexists(path):
            return None
        try:
            return sha256_of(path)
        except OSError:
            return ""

    def _keep(self, target: Path) -> None:
        beside = beside_name(target)
        target.rename(beside)
        self.kept.append(beside)

    def _temporary(self, name: str, digest: str) -> Path:
        path = self.folder / name
        return path.with_name(f".ilhte-{digest[:16]}.tmp")

    def _sweep(self) -> None:
        """Remove what a killed process left half written, under the temporary names that follow from the manifest."""
        for name, known in self.written.items():
            for digest in known:
                self._temporary(name, digest).unlink(missing_ok=True)
        (self.folder / f"{MANIFEST}.tmp").unlink(missing_ok=True)

    def _save(self) -> None:
        text = json.dumps({"format": _FORMAT, "files": self.written}, indent=0, sort_keys=True) + "\n"
        temporary = self.folder / f"{MANIFEST}.tmp"
        _write_through(temporary, text.encode())
        os.replace(temporary, self.folder / MANIFEST)


def read_manifest(folder: Path) -> dict[str, list[str]] | None:
    """Name -> checksums of what ilhte wrote into a folder; None where there is no manifest."""
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            return None
        return {str(name): [str(digest) for digest in known] for name, known in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_untouched(folder: Path, name: str) -> bool:
    """Whether a file is there exactly as ilhte wrote it."""
    path = folder / name
    return path.is_file() and sha256_of(path) in (read_manifest(folder) or {}).get(name, ())


def refuse_foreign(folder: Path, remedy: str) -> None:
    """Raise InputError if a folder holds files but no manifest, so that ilhte did not write it."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is a file where a folder is needed: {remedy}")
    if not folder.is_dir() or read_manifest(folder) is not None:
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _LITTER)
    if foreign:
        raise InputError(
            f"{folder} is not empty and was not written by ilhte (it holds {listed(foreign, 3)}): {remedy}"
        )


def raise_in_the_way(target: Path) -> None:
    """Raise InputError: a file that ilhte did not write is where one is to be written."""
    raise InputError(f"{target} stands in the way and was not written by ilhte: rename it or move it elsewhere.")


def beside_name(target: Path) -> Path:
    """A free name for the user's version of a file: ``table.csv.edited-1`` beside ``table.csv``.

    Its ending differs, so that no pattern such as ``*.csv`` matches it.
    """
    n = 1
    while os.path.lexists(beside := target.with_name(f"{target.name}.edited-{n}")):
        n += 1
    return beside


@contextmanager
def replaced_folder(target: Path, remedy: str) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a new folder to fill, which replaces ``target`` as a whole when the block ends without an error.

    The user's files in ``target`` are carried over: unlisted ones unchanged, edited ones under another name. The second
    value is a list that holds the latter's paths once the block has ended.

    Raises
    ------
    InputError : ``target`` holds files but no manifest, or one of the user's files is in the place of a new one.
    """
    new, old = (target.with_name(f".{target.name}.ilhte-{what}") for what in ("new", "old"))
    if old.is_dir() and read_manifest(old) is not None:
        # an earlier process was killed between the two renames, or after them
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)
    refuse_foreign(target, remedy)
    for place in (new, old):
        if os.path.lexists(place):
            if read_manifest(place) is None:
                raise_in_the_way(place)
            shutil.rmtree(place)
    new.mkdir(parents=True)
    manifest = Manifest(new, {})
    kept: list[Path] = []
    manifest._save()
    try:
        yield new, kept
        for path in sorted(new.rglob("*")):
            name = path.relative_to(new).as_posix()
            if path.is_file() and name != MANIFEST:
                manifest.written[name] = [sha256_of(path)]
        manifest._save()
        kept += _carry_over(target, new, manifest)
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _carry_over(earlier: Path, new: Path, manifest: Manifest) -> list[Path]:
    """Copy the user's files from the earlier folder into the new one; return the final paths of the edited ones."""
    if not earlier.is_dir():
        return []
    ours, edited = read_manifest(earlier) or {}, []
    for path in sorted(earlier.rglob("*")):
        name = path.relative_to(earlier).as_posix()
        if name == MANIFEST or (path.is_dir() and not path.is_symlink()):
            continue
        known = ours.get(name)
        if known is not None and not path.is_symlink() and sha256_of(path) in known:
            continue
        to = new / name
        if known is not None and os.path.lexists(to):
            to = beside_name(to)
            edited.append(earlier / to.relative_to(new))
        elif name in manifest.written:
            raise_in_the_way(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to, follow_symlinks=False)
    return edited


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
