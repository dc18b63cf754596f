"""What this program wrote into a folder: a program replaces and removes only what it wrote itself.

Every folder that is written into carries ``.ilhte-manifest.json``: names relative to the folder, each with the checksums
(SHA-256) of what was written there. A file that is not listed, or whose content is another by now, is a user's.
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
"""The usual remedy where a folder is somebody else's."""
_FORMAT = "ilhte manifest 1"
_EDITED = re.compile(r"\.edited-[0-9]+$")
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", ".lock", f"{MANIFEST}.tmp"}
"""What systems leave in any folder, the lock of a run and a manifest that was never finished: else empty, it is empty."""


class Manifest:
    """A folder that this program writes into.

    What is about to be written is listed, with its checksum, before it is written; so a process that is killed at any
    moment leaves no file behind that the next one would not know for its own.

    Attributes
    ----------
    folder : the folder.
    written : name -> checksums of what this program wrote there.
    kept : paths of a user's edited files that were kept, in order; for telling.
    """

    def __init__(self, folder: Path, written: dict[str, list[str]]) -> None:
        self.folder = folder
        self.written = written
        self.kept: list[Path] = []

    @classmethod
    def open(
        cls, folder: Path, remedy: str, adopt: Callable[[Path], dict[str, list[str]]] = lambda folder: {}
    ) -> Manifest:
        """The manifest of a folder, which is made if it is not there.

        Parameters
        ----------
        folder : the folder.
        remedy : what to do if it is somebody else's, to end the message.
        adopt : what an earlier version, which left no manifest, is known to have written there: name -> checksums.

        Raises
        ------
        InputError : it holds files and no manifest, is no folder, or cannot be made.
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
        """Raise InputError if a file that is not ours stands where one of these is to be written."""
        standing = [name for name in names if name not in self.written and os.path.lexists(self.folder / name)]
        if standing:
            files = counted(len(standing), "file stands", "files stand")
            raise InputError(
                f"In {self.folder}, {files} in the way that ilhte did not write ({listed(standing, 3)}): {remedy}"
            )

    def refuse_others(self, remedy: str) -> None:
        """Raise InputError if the folder holds files that are not ours, edited ones that were kept apart."""
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
        """Write a file, whole or not at all; nothing is done where it holds just that already.

        A file of ours that was edited since is kept under another name beside it (``kept``).

        Raises
        ------
        InputError : a file that is not ours stands there.
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
        """As ``write``, in UTF-8."""
        return self.write(name, text.encode("utf-8"))

    def remove(self, name: str) -> None:
        """Remove a file of ours; one that was edited since stays and is a user's from now on (``kept``)."""
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
        """Remove whatever of ours is not among these."""
        for name in [name for name in self.written if name not in names]:
            self.remove(name)

    def _state(self, name: str) -> str | None:
        """Checksum of what stands there now; None if nothing does."""
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
        """Remove what a killed process left half written: temporary names that the manifest announces."""
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
    """Name -> checksums of what this program wrote into a folder; None where there is no manifest."""
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            return None
        return {str(name): [str(digest) for digest in known] for name, known in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_untouched(folder: Path, name: str) -> bool:
    """Whether a file is there as this program wrote it."""
    path = folder / name
    return path.is_file() and sha256_of(path) in (read_manifest(folder) or {}).get(name, ())


def refuse_foreign(folder: Path, remedy: str) -> None:
    """Raise InputError if a folder holds files and no manifest: then it is somebody else's."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is a file, and a folder is wanted there: {remedy}")
    if not folder.is_dir() or read_manifest(folder) is not None:
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _LITTER)
    if foreign:
        raise InputError(
            f"{folder} is not empty and was not written by ilhte (it holds {listed(foreign, 3)}): {remedy}"
        )


def raise_in_the_way(target: Path) -> None:
    """Raise InputError: a file that is not ours stands where one is to be written."""
    raise InputError(f"{target} stands in the way and was not written by ilhte: rename it or move it elsewhere.")


def beside_name(target: Path) -> Path:
    """A free name for a user's version of a file: ``table.csv.edited-1`` beside ``table.csv``.

    The ending is another, so that no pattern such as ``*.csv`` takes it for one of ours.
    """
    n = 1
    while os.path.lexists(beside := target.with_name(f"{target.name}.edited-{n}")):
        n += 1
    return beside


@contextmanager
def replaced_folder(target: Path, remedy: str) -> Iterator[tuple[Path, list[Path]]]:
    """A new folder to be filled, which takes the place of ``target`` as a whole when the block is left without an error.

    A user's own files in ``target`` come along: those that are not listed as they are, those that were edited under
    another name. The second value, a list, names the latter when the block has been left.

    Raises
    ------
    InputError : ``target`` holds files and no manifest, or one of a user's files stands where a new one is to be.
    """
    new, old = (target.with_name(f".{target.name}.ilhte-{what}") for what in ("new", "old"))
    if old.is_dir() and read_manifest(old) is not None:
        # a process was killed between the two renames, or after them
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
    """Copy a user's files of the earlier folder into the new one; the paths, in their final place, of edited ones."""
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
