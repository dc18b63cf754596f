"""Rendering the whole site: pages with changed inputs are rendered again, then the finished folder replaces the earlier one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

from ilhte_lib.manifest import is_untouched, replaced_folder

from ..config import SiteConfig, read_config
from ..front_matter import PageError
from .document import Document
from .execute import needs_kernel
from .page import ASSETS, read_page, render_page
from .search_index import search_index

_STAMPS = ".preview.json"
_REMEDY = "move it elsewhere, or delete it if an earlier render left it."


def build_site(project: Path, run: Path | None, environment: Mapping[str, str], echo: Callable[[str], None]) -> Path:
    """Render the site of `project` and return its folder; `run` is the run that its pages read, `environment` that of the
    kernels, and `echo` takes one line per rendered page.

    Raises `PageError`; the earlier site then remains unchanged.
    """
    config = read_config(project)
    if not config.pages:
        raise PageError("_quarto.yml lists no page under `project: render:` that exists.")
    earlier = _stamps(config.output)
    shipped = set(config.resources) | {f"site_libs/{name}" for name in ASSETS}
    shipped |= {path.relative_to(project).as_posix() for path in config.files(config.defaults.get("css"))}

    with replaced_folder(config.output, _REMEDY) as (new, kept):
        made: dict[str, dict] = {}
        common, results = _common_stamp(config), _results_stamp(project, run)
        changed: dict[str, tuple[Document, str]] = {}
        for source, output in config.pages.items():
            document = read_page(project, source)
            stamp = _hash(common, (project / source).read_bytes(), *(results if needs_kernel(document) else ()))
            before = earlier.get(output, {})
            if before.get("stamp") == stamp and is_untouched(config.output, output):
                made[output] = before
                _copy(config.output / output, new / output)
            else:
                changed[output] = document, stamp

        def make(document: Document) -> tuple[str, set[str]]:
            return render_page(document, config, environment, shipped)

        for output, (page, linked) in _side_by_side(make, {o: document for o, (document, _) in changed.items()}):
            document, stamp = changed[output]
            echo(document.name)
            (new / output).parent.mkdir(parents=True, exist_ok=True)
            (new / output).write_text(page, encoding="utf-8")
            made[output] = {"stamp": stamp, "files": sorted(linked)}
        for name in shipped.union(*(page["files"] for page in made.values())):
            if not name.startswith("site_libs/"):
                _copy(project / name, new / name)
        for name in ASSETS:
            _copy(files(__package__) / name, new / "site_libs" / name)
        (new / "site_libs" / "search-index.js").write_text(search_index(new, made), encoding="utf-8")
        (new / _STAMPS).write_text(json.dumps(made, indent=1), encoding="utf-8")
    for path in kept:
        echo(f"{path} is your edited version of a file that was replaced.")
    return config.output


def _side_by_side(make: Callable, documents: Mapping[str, Document]) -> Iterator[tuple[str, tuple]]:
    """The results of `make` for all documents, in their order, computed on all cores; if one fails, or the user interrupts,
    the others are stopped."""
    from ...run.kernel import stop_kernels

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {output: pool.submit(make, document) for output, document in documents.items()}
        try:
            for output, future in futures.items():
                yield output, future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_kernels()
            raise


def _common_stamp(config: SiteConfig) -> bytes:
    """A hash of what all pages depend on: the site's options and their files, the list of pages, and this program."""
    named = ("bibliography", "csl", "include-in-header")
    contents = [path.read_bytes() for key in named for path in config.files(config.defaults.get(key))]
    package = Path(str(files("ilhte_report")))
    program = [path.read_bytes() for path in sorted((package / "site" / "preview").iterdir()) if path.is_file()]
    quarto = (config.project / "_quarto.yml").read_bytes()
    return _hash(quarto, repr(sorted(config.pages)).encode(), *contents, *program).encode()


def _results_stamp(project: Path, run: Path | None) -> tuple[bytes, ...]:
    """The further inputs of pages with cells: the run, the project's data and code."""
    states = []
    for folder in (run, project / "data"):
        if folder is not None:
            states.append(str(folder))
            states += [
                f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}"
                for path in sorted(folder.rglob("*"))
                if path.is_file() and "cache" not in path.relative_to(folder).parts
            ]
    code = []
    for package in ("ilhte_lib", "ilhte_report"):
        code += [path.read_bytes() for path in sorted(Path(str(files(package))).rglob("*.py"))]
    return ("\n".join(states).encode(), *code)


def _hash(*pieces: bytes) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()


def _stamps(site: Path) -> dict:
    try:
        return json.loads((site / _STAMPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _copy(source, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
