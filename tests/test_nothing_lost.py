"""No file of a user is deleted or overwritten: the real commands, in folders that hold a user's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_line import call, refusal
from run_cases import PROJECT, here, ilhte, small_project, write_table

from ilhte_lib.errors import InputError
from ilhte_lib.manifest import MANIFEST, Manifest, read_manifest, replaced_folder
from ilhte_report.outputs import Output

REPORT = pytest.mark.skipif(
    shutil.which("quarto") is not None, reason="with Quarto here, the folder of the site is Quarto's to write"
)


def snapshot(folder: Path) -> dict[str, str]:
    """Name -> checksum of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as a clone has it, with one small page in place of its pages."""
    folder = small_project(tmp_path / "clone")
    for name in (".ilhte-project", "data", "site"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "_quarto.yml").write_text(
        'project:\n  type: website\n  output-dir: _site\n  render: ["index.qmd", "tables/*.ipynb"]\n'
        "  resources: [tables/*.csv]\nformat: {html: {}}\n"
    )
    (folder / "index.qmd").write_text("---\ntitle: Site\n---\n\nText.\n")
    return folder


# -- the four destructions ---------------------------------------------------------------------------------------------


@REPORT
def test_a_users_tables_folder_in_a_clone(clone: Path):
    """1: `ilhte run tables/trial.csv; ilhte render` overwrote trial.csv and deleted other_trial.csv."""
    write_table(clone / "tables" / "trial.csv", seed=1)
    write_table(clone / "tables" / "other_trial.csv", seed=2)
    before = snapshot(clone / "tables")
    assert ilhte("run", "tables/trial.csv", cwd=clone).returncode == 0
    done = ilhte("render", cwd=clone)
    assert done.returncode == 2 and "tables is not empty and was not written by ilhte" in done.stderr
    assert "move your own files elsewhere" in done.stderr
    assert snapshot(clone / "tables") == before and not (clone / "_site").exists()
    (clone / "tables").rename(clone / "mine")
    done = ilhte("render", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert snapshot(clone / "mine") == before
    assert (clone / "_site" / "tables" / "trial.html").is_file()
    # what is put there later is neither published nor lost
    shutil.copy(clone / "mine" / "other_trial.csv", clone / "tables" / "pupils.csv")
    done = ilhte("render", cwd=clone)
    assert done.returncode == 2 and "pupils.csv" in done.stderr
    assert (clone / "tables" / "pupils.csv").is_file() and not (clone / "_site" / "tables" / "pupils.csv").exists()


def test_a_users_folder_named_with_out(tmp_path: Path):
    """2: `ilhte run x.csv --out DIR` deleted fits/*.json, tables/*.ipynb and .writing-*, and overwrote run.json."""
    table = write_table(tmp_path / "x.csv", seed=3)
    theirs = tmp_path / "theirs"
    for name in ("fits/model.json", "tables/thesis.ipynb", "run.json", "summary.parquet", "deep/.writing-novel.txt"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("mine")
    before = snapshot(theirs)
    done = ilhte("run", table, "--out", theirs, cwd=tmp_path)
    assert done.returncode == 2 and "is not empty and was not written by ilhte" in done.stderr
    assert snapshot(theirs) == before


def test_a_users_files_in_the_folder_of_a_run(tmp_path: Path):
    table, run = write_table(small_project(tmp_path) / "x.csv", seed=4), tmp_path / "run"
    assert here("run", table, "--out", run, cwd=tmp_path).returncode == 0
    (run / "fits" / "model.json").write_text("mine")
    (run / ".writing-novel.txt").write_text("mine")
    (run / "fits" / "x.json").write_text("edited")
    done = here("run", table, "--out", run, cwd=tmp_path)
    assert done.returncode == 0 and "x.json.edited-1 was edited since ilhte wrote it" in done.stderr
    assert (run / "fits" / "x.json.edited-1").read_text() == "edited"
    assert json.loads((run / "fits" / "x.json").read_text())["tab"] == "x"
    assert (run / "fits" / "model.json").read_text() == "mine" and (run / ".writing-novel.txt").read_text() == "mine"
    # a table whose file would be a user's is refused before anything is fitted
    other = write_table(tmp_path / "model.csv", seed=5)
    done = here("run", other, "--out", run, cwd=tmp_path)
    assert done.returncode == 2 and "fits/model.json" in done.stderr
    assert (run / "fits" / "model.json").read_text() == "mine"


def test_a_run_of_an_earlier_version_is_taken_over(tmp_path: Path):
    table, run = write_table(small_project(tmp_path) / "x.csv", seed=6), tmp_path / "run"
    assert here("run", table, "--out", run, cwd=tmp_path).returncode == 0
    (run / MANIFEST).unlink()
    (run / "notes.txt").write_text("mine")
    done = here("run", table, "--out", run, cwd=tmp_path)
    assert done.returncode == 0 and "1 unchanged" in done.stdout
    assert (run / "notes.txt").read_text() == "mine"


def test_somebody_elses_quarto_website(tmp_path: Path):
    """3: `ilhte render RUN` inside another Quarto website deleted its tables/* and _site/CNAME."""
    project, website = small_project(tmp_path / "project"), tmp_path / "website"
    table, run = write_table(project / "x.csv", seed=7), tmp_path / "run"
    assert here("run", table, "--out", run, cwd=project).returncode == 0
    for name, text in {
        "_quarto.yml": "project: {type: website}\n",
        "index.qmd": "---\ntitle: Mine\n---\n",
        "tables/a.ipynb": "{}",
        "tables/b.csv": "x\n1\n",
        "_site/CNAME": "example.org\n",
    }.items():
        (website / name).parent.mkdir(parents=True, exist_ok=True)
        (website / name).write_text(text)
    before = snapshot(website)
    done = here("render", run, cwd=website)
    assert done.returncode == 2 and "There is no project of ilhte" in done.stderr
    assert snapshot(website) == before


@REPORT
def test_files_of_a_user_in_the_site_stay(clone: Path):
    assert here("run", write_table(clone / "x.csv", seed=8), cwd=clone).returncode == 0
    public = clone.parent / "public"
    assert here("render", "--to", public, cwd=clone).returncode == 0
    for site in (clone / "_site", public):
        (site / "CNAME").write_text("example.org\n")
        (site / "index.html").write_text("edited")
    done = here("render", "--to", public, cwd=clone)
    assert done.returncode == 0, done.stderr
    for site in (clone / "_site", public):
        assert (site / "CNAME").read_text() == "example.org\n"
        assert (site / "index.html.edited-1").read_text() == "edited"
        assert "Text." in (site / "index.html").read_text()
    (public.parent / "full").mkdir()
    (public.parent / "full" / "thesis.tex").write_text("mine")
    done = here("render", "--to", public.parent / "full", cwd=clone)
    assert done.returncode == 2 and "thesis.tex" in done.stderr
    assert (public.parent / "full" / "thesis.tex").read_text() == "mine"


# -- outputs of a command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("outputs") / "t.csv", seed=9)


def test_an_output_replaces_no_input(trial: Path, tmp_path: Path):
    """4: `ilhte fit t.csv --json t.csv` replaced the data."""
    before = trial.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(trial)
    for option in ("--json", "--html"):
        for place in (trial, link, trial.parent / "." / "t.csv"):
            assert "is a file that this command reads" in refusal(call("fit", trial, option, place, "--force"))
    assert trial.read_bytes() == before


def test_an_output_replaces_what_is_ours_alone(trial: Path, tmp_path: Path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"tab": "mine"}')
    assert "--force" in refusal(call("fit", trial, "--json", mine)) and mine.read_text() == '{"tab": "mine"}'
    for option, name in (("--json", "o.json"), ("--html", "o.html")):
        for _ in range(2):
            done = call("fit", trial, "--quick", option, tmp_path / name)
            assert done.code == 0, done.err
    assert call("fit", trial, "--quick", "--json", mine, "--force").code == 0
    assert json.loads(mine.read_text())["tab"] == "t"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command line of bash; ``ILHTE`` in it stands for the program."""
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    command = command.replace("ILHTE", f"{sys.executable} -m ilhte_report.cli")
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_files_are_written_though_the_terminal_is_closed(trial: Path, tmp_path: Path):
    done = shell(f"ILHTE fit {trial} --json j.json --html h.html | head -n 1", tmp_path)
    assert done.stdout and not done.stderr
    assert json.loads((tmp_path / "j.json").read_text())["tab"] == "t" and (tmp_path / "h.html").stat().st_size > 1e5


def test_a_file_name_that_is_no_utf_8(trial: Path, tmp_path: Path):
    odd = os.fsdecode(os.fsencode(small_project(tmp_path)) + b"/caf\xe9.csv")
    shutil.copy(trial, odd)
    assert ilhte("fit", odd, "--quick", "--json", "j.json", cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "j.json").read_text(encoding="utf-8"))["tab"] == "caf\ufffd"
    done = ilhte("run", odd, trial, "--out", "r", "--bootstrap", "0", cwd=tmp_path)
    assert done.returncode == 3 and "rename the file" in done.stdout and "Traceback" not in done.stderr


def test_too_little_memory_is_told(trial: Path, tmp_path: Path):
    """OpenBLAS asks for ever for work space that a limit does not grant."""
    done = shell(f"ulimit -v 420000; ILHTE fit {trial}", tmp_path)
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    assert done.returncode == 0 or "memory" in done.stderr.lower()


def test_an_output_goes_through_links_pipes_and_devices(trial: Path, tmp_path: Path):
    link, real, pipe = tmp_path / "link.json", tmp_path / "real.json", tmp_path / "pipe"
    link.symlink_to(real)
    assert ilhte("fit", trial, "--quick", "--json", link, cwd=tmp_path).returncode == 0
    assert link.is_symlink() and json.loads(real.read_text())["tab"] == "t"
    assert ilhte("fit", trial, "--quick", "--json", "/dev/null", cwd=tmp_path).returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    assert ilhte("fit", trial, "--quick", "--json", pipe, cwd=tmp_path).returncode == 0
    reader.join(60)
    assert json.loads(received[0])["tab"] == "t" and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_dash_is_standard_output_and_nothing_else_is_there(trial: Path, tmp_path: Path):
    done = ilhte("fit", trial, "--quick", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["tab"] == "t"
    assert "Average effect" in done.stderr and not (tmp_path / "-").exists()
    done = ilhte("fit", trial, "--quick", "--json", "-", "--html", "-", cwd=tmp_path)
    assert done.returncode == 2 and "name the same file" in done.stderr


def test_a_reader_that_stops_reading_is_no_error(trial: Path, tmp_path: Path):
    done = shell(f"ILHTE fit {trial} --quick --json - | head -c 10", tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Broken" not in done.stderr


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (".", "is a folder"),
        ("t.csv/x.json", "part of its path is a file"),
        ("x" * 300 + ".json", "cannot be written"),
        ("", "needs the name of a file"),
        ("/dev/full", "No space left"),
    ],
)
def test_a_place_that_cannot_be_written_is_a_sentence(
    trial: Path, place: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    if place.startswith("/dev") and not os.path.exists(place):
        pytest.skip("there is no /dev/full here")
    monkeypatch.chdir(trial.parent)
    done = call("fit", trial, "--quick", "--json", place)
    assert done.code == 2 and reason in done.err and "Traceback" not in done.err


def test_a_full_disk_is_found_before_the_fit(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(InputError, match="No space left on device.: free some space"):
            Output("--json", str(disk / "o.json"), [])
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_simulate_into_a_file_or_a_users_folder(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "truth.json").write_text("mine")
    for place in ("file", "folder"):
        done = ilhte("simulate", "--out", place, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "folder" / "truth.json").read_text() == "mine"


# -- the manifest ----------------------------------------------------------------------------------------------------


def test_a_killed_writer_leaves_nothing_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Cut off before and after the renaming: the next writer knows the file, and leaves no half-written one."""
    folder = tmp_path / "run"
    manifest = Manifest.open(folder, "")
    manifest.write_text("a.txt", "one")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    for moment in ("before", "after"):
        again = Manifest.open(folder, "")
        with monkeypatch.context() as m:
            real, calls = os.replace, []

            def replace(source: Path, target: Path, real=real, calls=calls, moment=moment) -> None:
                if Path(target).name == "a.txt":
                    if moment == "after":
                        real(source, target)
                    raise Killed
                real(source, target)

            m.setattr(os, "replace", replace)
            m.setattr(Path, "unlink", lambda *a, **k: None)
            with pytest.raises(Killed):
                again.write_text("a.txt", f"two {moment}")
        last = Manifest.open(folder, "")
        last.write_text("a.txt", "three")
        assert (folder / "a.txt").read_text() == "three" and last.kept == []
        assert {path.name for path in folder.iterdir()} == {"a.txt", MANIFEST}


def test_what_was_edited_is_not_removed(tmp_path: Path):
    manifest = Manifest.open(tmp_path / "f", "")
    manifest.write_text("a", "1")
    manifest.write_text("b", "2")
    (tmp_path / "f" / "a").write_text("mine")
    manifest.keep_only(set())
    assert (tmp_path / "f" / "a").read_text() == "mine" and not (tmp_path / "f" / "b").exists()
    assert manifest.kept == [tmp_path / "f" / "a"] and read_manifest(tmp_path / "f") == {}
    with pytest.raises(InputError, match="stands in the way and was not written by ilhte"):
        manifest.write_text("a", "3")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "site"
    for text in ("one", "two"):
        with replaced_folder(target, "") as (new, _):
            (new / "page.html").write_text(text)
    (target / "CNAME").write_text("mine")
    with pytest.raises(ZeroDivisionError), replaced_folder(target, "") as (new, _):
        (new / "page.html").write_text("three")
        raise ZeroDivisionError
    assert (target / "page.html").read_text() == "two"
    with pytest.raises(InputError, match="CNAME stands in the way"), replaced_folder(target, "") as (new, _):
        (new / "CNAME").write_text("ours")
    assert (target / "CNAME").read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["site"]
