"""A user's mistakes and a system's faults, each for real on the command line: one sentence, its exit code, nothing left behind."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import call, refusal
from conftest import PROJECT

from ilhte_lib.data import memory
from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import Design, draw_trial

FULL = Path("/dev/full")
PROGRAM = (sys.executable, "-m", "ilhte_report.cli")


def environment(**others: object) -> dict[str, str]:
    # an empty part would be the working folder, which one of the tests removes
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in others.items()}}


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Path:
    drawn = draw_trial(Design(n_persons=80, n_items=4, seed=5))
    rows = [f"p{p},q{i},{drawn.responses[p, i]},{drawn.treat[p]}" for p in range(80) for i in range(4)]
    path = tmp_path_factory.mktemp("trial") / "t.csv"
    path.write_text("\n".join(["id,item,resp,treat", *rows]) + "\n", encoding="utf-8")
    return path


# -- standard output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_that_lacks_letters(trial, encoding):
    """A redirected standard output has cp1252 on Windows: what it lacks is written in plain letters."""
    done = subprocess.run(
        [*PROGRAM, "check", trial], capture_output=True, env=environment(PYTHONIOENCODING=encoding), check=False
    )
    assert done.returncode == 0 and not done.stderr
    assert "80 persons, 4 items" in done.stdout.decode(encoding)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("options", "code", "words"), [((), 1, "no space left"), (("--json", "-"), 2, "No space left")]
)
def test_a_full_standard_output(trial, options, code, words):
    with FULL.open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "fit", trial, *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr


# -- names and places --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that is in use")
def test_a_working_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone}; rmdir {gone}; {' '.join(PROGRAM)} fit verbagg_gender"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "The current folder was deleted or moved" in done.stderr


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "x" * 5000 + ".csv"])
def test_a_name_that_is_too_long(trial, tmp_path, name):
    assert "longer than this system allows" in refusal(call("fit", tmp_path / name))
    assert "File name too long" in refusal(call("fit", trial, "--json", tmp_path / name))


def test_a_name_that_is_empty_and_a_folder_that_cannot_be_made(trial):
    assert "The name of the table is empty" in refusal(call("fit", ""))
    assert "cannot be made" in refusal(call("simulate", "--out", trial / "below"))
    assert "cannot be written" in refusal(call("run", trial, "--out", trial / "below"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("fit", "--bootstrap", "9" * 25), "less than or equal to 1000000"),
        (("run", "--timeout", "inf"), "less than or equal to 100000000"),
        (("run", "--timeout", "nan"), "less than or equal to 100000000"),
        (("run", "--jobs", "0"), "greater than or equal to 1"),
        (("fit", "--seed", "9" * 25), "Invalid value for '--seed'"),
    ],
)
def test_numbers_that_are_none(trial, options, words):
    done = call(options[0], trial, *options[1:])
    assert done.code == 2 and "Traceback" not in done.err
    assert words in " ".join(done.err.split()) or "not in the range" in done.err


# -- packages ----------------------------------------------------------------------------------------------------------

BASE_ONLY = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["ilhte", *{arguments}]
from ilhte_report.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments", [("run", "FILE"), ("diff", "a", "b"), ("render",), ("fit", "FILE", "--html", "h.html")]
)
def test_the_base_installation_names_the_extra(trial, tmp_path, arguments):
    absent = ("filelock", "papermill", "nbclient", "nbformat", "plotly", "pyarrow", "IPython", "yaml", "pypandoc")
    script = BASE_ONLY.format(absent=absent, arguments=[str(trial) if a == "FILE" else a for a in arguments])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert 'pip install "ilhte[report]"' in done.stderr


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_text_file_larger_than_memory(tmp_path, monkeypatch, ending):
    """A sound gzip file of zeros, a thousand times as large unpacked, is no damaged one."""
    text = b"id,item,resp,treat\n" + b"0,0,0,0\n" * 200_000
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000)
    message = refusal(call("fit", path))
    assert "is too large for this machine's memory" in message and "Parquet" in message


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is a matter of Linux")
def test_a_kernel_without_memory(trial, tmp_path):
    """Its table fails with a sentence that says so, and not with the name of a Python exception."""
    pytest.importorskip("papermill")
    script = f"ulimit -v 700000; exec {' '.join(PROGRAM)} run {trial} --out r --bootstrap 0"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr and "CellExecutionError" not in done.stdout + done.stderr
    assert done.returncode == 0 or "memory" in (done.stdout + done.stderr).lower()


# -- ended from outside, and two at once ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_run_that_is_told_to_end_leaves_no_temporary_files(trial, tmp_path):
    pytest.importorskip("papermill")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [*PROGRAM, "run", trial, "--out", tmp_path / "r", "--bootstrap", "100000"]
    run = subprocess.Popen(
        command, env=environment(TMPDIR=temporary), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not any(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert any(temporary.iterdir()), "it began"
    run.send_signal(signal.SIGTERM)
    error = run.communicate(timeout=60)[1]
    assert run.returncode == 143 and b"Traceback" not in error, error
    assert list(temporary.iterdir()) == []


def test_two_renders_of_one_project(tmp_path):
    render = pytest.importorskip("ilhte_report.site.render", reason="the report's packages are not installed")
    with render._alone(tmp_path):
        with pytest.raises(InputError, match="Another `ilhte render` of .* is running"), render._alone(tmp_path):
            pass
        with render._alone(tmp_path / "another"):
            pass
    with render._alone(tmp_path):
        pass


def test_an_emoji_in_a_file_name(trial, tmp_path):
    """It once stopped the site as a whole."""
    pytest.importorskip("papermill")
    pytest.importorskip("plotly")
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (".ilhte-project", "notebooks", "data", "site"):
        (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, clone / name)
    (clone / "_quarto.yml").write_text(
        'project:\n  type: website\n  output-dir: _site\n  render: ["index.qmd", "tables/*.ipynb"]\n'
        "  resources: [tables/*.csv]\nformat: {html: {}}\n"
    )
    (clone / "index.qmd").write_text("---\ntitle: Site\n---\n\nText.\n")
    shutil.copy(trial, clone / "trial \U0001f600.csv")
    for arguments in (("run", "trial \U0001f600.csv", "--bootstrap", "0"), ("render",)):
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=clone,
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (page,) = (clone / "_site" / "tables").glob("trial*.html")
    assert "trial \U0001f600" in page.read_text(encoding="utf-8")
