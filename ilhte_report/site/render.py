"""Rendering the site with Quarto or the preview renderer, and preparing what rendering needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.files import sha256_of
from ilhte_lib.manifest import MANIFEST, Manifest, read_manifest, refuse_foreign, replaced_folder

from ..project import MARK, OWN_TRIALS, SOURCES, find_project, latest_run, own_trials
from .by_quarto import written_by_quarto
from .unchanged import STAMP, Inputs, state_of

_PATIENCE = 15
_ELSEWHERE = "name an empty or a new folder with --to."
_ASSETS = "move your own files elsewhere: assets/ is written when the site is rendered."
_SITE = "move it elsewhere, or delete it if an earlier render left it."


def prepare_site(project: Path, run: Path | None = None, echo: Callable[[str], None] = print) -> Path:
    """Create what rendering needs and the repository does not contain; returns the run that the pages read.

    That is plotly.js in `assets/`, a run (if none is given, of the project's own trials, or of the bundled collection if there
    is none yet) and its executed notebooks in `tables/`. What exists already is left unchanged.
    """
    from plotly.offline import get_plotlyjs

    from ..run.folder import refuse_earlier
    from .run_pages import copy_run_pages

    Manifest.open(project / "assets", _ASSETS, _plotly_alone).write_text("plotly.min.js", get_plotlyjs())
    if run is None and not os.environ.get("ILHTE_RUN"):
        run = _default_run(project)
    run = run or latest_run(project)
    if (run / "summary.parquet").is_file():
        refuse_earlier(run)
    for path in copy_run_pages(run, project / "tables"):
        echo(f"{path} was edited since ilhte wrote it: your version is kept.")
    return run


def _default_run(project: Path) -> Path | None:
    """The run of the project's own trials, updated unless another run is the latest; that of the collection if there
    is no run yet; else None."""
    from ..run.tables import PAGE_REPLICATES, Settings, default_folder, run_collection, run_own_trials

    there_is_one = (project / "results" / "latest.json").is_file()
    if own_trials(project) is None:
        return None if there_is_one else run_collection(project)
    usual = default_folder([OWN_TRIALS], Settings(bootstrap=PAGE_REPLICATES)).name
    return run_own_trials(project) if not there_is_one or latest_run(project).name == usual else None


def _plotly_alone(assets: Path) -> dict[str, list[str]]:
    """The only file that an earlier version, without a manifest, wrote to `assets/`: plotly.js."""
    plotly = assets / "plotly.min.js"
    if [path.name for path in assets.iterdir()] != [plotly.name] or b"plotly.js v" not in plotly.read_bytes()[:500]:
        return {}
    return {plotly.name: [sha256_of(plotly)]}


def render(project: Path, run: Path | None = None, to: Path | None = None, echo: Callable[[str], None] = print) -> Path:
    """Render the site of `project` from `run` (default: the latest) and return its folder, `_site/` or a copy at `to`.

    Uses Quarto if it works, else the preview renderer. Raises `InputError` if `to` is a folder with
    other content, `EngineError` if Quarto fails, `PageError` if the preview renderer finds an error in a page.
    """
    project = Path(project).resolve()
    environment = dict(os.environ)
    if to is not None:
        refuse_foreign(Path(to), _ELSEWHERE)
    if run is not None:
        run = Path(run).resolve()
        if not run.is_dir():
            raise InputError(f"There is no run folder {run}: `ilhte run` creates one.")
        environment["ILHTE_RUN"] = str(run)
    quarto = find_quarto()
    with _alone(project):
        site = _rendered(quarto, project, run, environment, echo)
        if to is not None:
            site = _publish(site, Path(to).resolve(), echo)
    echo(f"The site: {site / 'index.html'}")
    return site


def _rendered(
    quarto: str | None, project: Path, run: Path | None, environment: dict[str, str], echo: Callable[[str], None]
) -> Path:
    """The site's folder, rendered again if any of its inputs has changed."""
    from .config import read_config

    site, renderer = read_config(project).output, state_of(quarto)
    if (site / STAMP).is_file():
        read = run or (None if os.environ.get("ILHTE_RUN") else _default_run(project)) or latest_run(project)
        if Inputs(project, site, read, renderer).unchanged():
            echo(f"Nothing has changed since {site} was rendered (delete the folder to render it again).")
            return site
        # the stamp does not describe the site being rendered
        (site / STAMP).unlink(missing_ok=True)
    before = Inputs(project, site, run or project, renderer).sources()
    site = _with_quarto(quarto, project, environment, echo) if quarto else _preview(project, run, environment, echo)
    # a file saved in the meantime may or may not be in the site
    if Inputs(project, site, run or project, renderer).sources() == before:
        Inputs(project, site, run or latest_run(project), renderer).keep()
    return site


def render_here(run: Path | None = None, to: Path | None = None, echo: Callable[[str], None] = print) -> Path:
    """``render`` the project that contains the current folder; outside a project, a copy of the installed sources.

    In the latter case the run is `run` or the latest in the current folder's `results/`, and the site goes to `to` or `_site/`.
    Raises `InputError` if there is neither a project nor installed sources, or no run.
    """
    try:
        project = find_project()
    except InputError:
        if not (SOURCES / MARK).is_file():
            raise
        run = run or latest_run(Path.cwd())
        with tempfile.TemporaryDirectory(prefix="ilhte-") as folder:
            project = Path(folder) / "project"
            shutil.copytree(SOURCES, project)
            return render(project, run, to or Path("_site"), echo)
    return render(project, run, to, echo)


def _with_quarto(quarto: str, project: Path, environment: dict[str, str], echo: Callable[[str], None]) -> Path:
    """Render with Quarto, which calls `prepare_site` through the pre-render script named in `_quarto.yml`.

    Quarto empties its output folder; therefore it gets a folder of its own, from which the site is copied.
    """
    from .config import read_config

    echo(f"Rendering with Quarto ({quarto}).")
    site = read_config(project).output
    made = Path(".quarto") / "ilhte-site"
    environment = {**environment, "QUARTO_PYTHON": sys.executable}
    _know_quartos(site, project)
    with replaced_folder(site, _SITE) as (new, kept):
        command = [quarto, "render", "--output-dir", str(made)]
        if subprocess.run(command, cwd=project, env=environment, check=False).returncode:
            raise EngineError("quarto render failed: see its message above.")
        shutil.copytree(project / made, new, dirs_exist_ok=True)
        shutil.rmtree(project / made)
    _tell_kept(kept, echo)
    return site


def _preview(project: Path, run: Path | None, environment: dict[str, str], echo: Callable[[str], None]) -> Path:
    from .config import read_config
    from .preview.site import build_site

    echo("Quarto is not installed, so the preview renderer is used; with Quarto, `quarto render` makes the full site.")
    _know_quartos(read_config(project).output, project)
    return build_site(project, prepare_site(project, run, echo), environment, echo)


def _know_quartos(site: Path, project: Path) -> None:
    """List the files that Quarto, called directly, wrote to the site, so that they are not taken for a user's."""
    if site.is_dir() and read_manifest(site) is None and any(site.iterdir()):
        Manifest.open(site, _SITE, lambda folder: written_by_quarto(folder, project))


def find_quarto() -> str | None:
    """The Quarto in this Python environment or on the PATH, if it runs.

    The PyPI package installs a `quarto` command even if the download of the program itself failed.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    quarto = shutil.which("quarto", path=places)
    if quarto is None:
        return None
    try:
        done = subprocess.run([quarto, "--version"], capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return quarto if done.returncode == 0 and done.stdout[:1].isdigit() else None


@contextmanager
def _alone(project: Path) -> Iterator[None]:
    """Allow one render of a project at a time, as two would write the same folders."""
    name = hashlib.sha256(str(project).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"ilhte-render-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"Another `ilhte render` of {project} is running: wait until it has finished.") from None
    try:
        yield
    finally:
        lock.release()


def _publish(site: Path, to: Path, echo: Callable[[str], None]) -> Path:
    """Copy the site to `to`, replacing what was published there before; a user's own files are kept."""
    with replaced_folder(to, _ELSEWHERE) as (new, kept):
        ours = read_manifest(site)
        for path in sorted(site.rglob("*")):
            name = path.relative_to(site).as_posix()
            if path.is_file() and name not in (MANIFEST, STAMP) and (ours is None or name in ours):
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, new / name)
    _tell_kept(kept, echo)
    return to


def _tell_kept(kept: list[Path], echo: Callable[[str], None]) -> None:
    for path in kept:
        echo(f"{path} is your edited version of a file that was replaced.")
