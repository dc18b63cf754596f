"""The command line as a user meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from ilhte_lib.manifest import MANIFEST
from ilhte_lib.model.simulate import COLLECTION, Design, draw_trial

SUMMARY_NULLS = ("rho", "rho_se")


def ilhte(*arguments: object, cwd=None, **environment: str) -> subprocess.CompletedProcess:
    """Run the console script's entry point in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "ilhte_report.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


def csv(path, rows: list[str], header: str = "id,item,resp,treat"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def small_trial(n_persons: int = 60, n_items: int = 4, ate: float = 0.2) -> list[str]:
    """Rows of a little simulated trial, items named q0, q1, ..."""
    drawn = draw_trial(Design(n_persons=n_persons, n_items=n_items, seed=1, ate=ate))
    return [f"p{p},q{i},{drawn.responses[p, i]},{drawn.treat[p]}" for p in range(n_persons) for i in range(n_items)]


def no_nan(value) -> bool:
    if isinstance(value, dict):
        return all(map(no_nan, value.values()))
    if isinstance(value, list):
        return all(map(no_nan, value))
    return not (isinstance(value, float) and math.isnan(value))


def test_fit_prints_a_summary_and_writes_the_document(tmp_path, project):
    out = tmp_path / "out.json"
    done = ilhte("fit", "verbagg_gender", "--json", out, cwd=project)
    assert done.returncode == 0, done.stderr
    assert "316 persons, 24 items, 7584 responses" in done.stdout
    assert "Average difference between the groups" in done.stdout and "SDs of the persons" in done.stdout
    assert "not assigned at random" in done.stdout
    document = json.loads(
        out.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} in the JSON")
    )
    assert set(document) >= {"tab", "summary", "items", "audit", "models", "provenance"}
    assert list(document["models"]) == ["M_0", "M_A", "M_B", "M_C"]
    assert set(document["models"]["M_C"]["beta"]) == {"intercept", "treat", "cov", "treat:cov"}
    assert len(document["items"]) == 24
    assert no_nan(document)
    average = document["summary"]["ate_std"] * document["summary"]["sigma_theta"]
    assert math.isclose(average, document["models"]["M_A"]["beta"]["treat"], rel_tol=1e-12)


def test_boundary_fit_writes_null_and_survives(tmp_path, project):
    out = tmp_path / "out.json"
    done = ilhte("fit", "respiratory_visits", "--json", out, cwd=project)
    assert done.returncode == 0, done.stderr
    summary = json.loads(out.read_text(encoding="utf-8"))["summary"]
    assert summary["singular"] is True
    assert [summary[name] for name in SUMMARY_NULLS] == [None, None]
    assert summary["sd_ratio"] is None
    assert "not defined" in done.stdout


def test_html_report_is_one_offline_file(tmp_path):
    rows = [row.replace("q1", "<script>alert(1)</script>") for row in small_trial(200)]
    table = csv(tmp_path / "trial.csv", rows)
    out = tmp_path / "report.html"
    done = ilhte("fit", table, "--html", out)
    assert done.returncode == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    # counted: pytest would compare the megabytes of a page line by line
    assert page.count("&lt;script&gt;alert(1)") > 0 and page.count("<script>alert(1)") == 0
    loaded = Loaded()
    loaded.feed(page)
    assert loaded.elements and not loaded.addresses


class Loaded(HTMLParser):
    """The elements of a page, and the addresses that a browser would load for them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        named = [value or "" for name, value in attributes if name == "src" or (tag, name) == ("link", "href")]
        self.addresses += [address for address in named if not address.startswith("data:")]


def test_lower_is_better_changes_only_the_wording(tmp_path):
    table = csv(tmp_path / "trial.csv", small_trial(400, 8, ate=1.0))
    outputs = [ilhte("fit", table, *option) for option in ((), ("--lower-is-better",))]
    assert [o.returncode for o in outputs] == [0, 0]
    said = outputs[0].stdout.replace("lower_is_better", "")  # of the file's name
    assert "better" not in said and "worse" not in said, "nobody said which way is good"
    assert " ".join(outputs[1].stdout.split()).count(", which is worse (lower is better here)") == 1
    plain, judged = (" ".join(o.stdout.split()) for o in outputs)
    assert judged.replace(", which is worse (lower is better here)", "") == plain


BAD_INPUT = {
    "missing column": (["1,q1,1", "2,q1,0"], "id,item,resp", "treat"),
    "treat not 0/1": ([f"{p},q{i},{(p + i) % 2},{p % 2 + 1}" for p in range(9) for i in range(4)], None, "treat"),
    "treat not constant": ([f"{p},q{i},{(p + i) % 2},{i % 2}" for p in range(9) for i in range(4)], None, "constant"),
    "two items": (small_trial(30, 2), None, "binary items"),
    "no rows": ([], None, "no rows"),
    "text responses": (
        [f"{p},q{i},{'yes' if (p + i) % 2 else 'no'},{p % 2}" for p in range(9) for i in range(4)],
        None,
        "resp",
    ),
    "one arm": ([f"{p},q{i},{(p + i) % 2},0" for p in range(9) for i in range(4)], None, "arm"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_and_exit_code_2(case, tmp_path):
    rows, header, named = BAD_INPUT[case]
    done = ilhte("fit", csv(tmp_path / "bad.csv", rows, header or "id,item,resp,treat"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    message = done.stderr.strip()
    assert named in message
    assert message.startswith("ilhte: ") and "\n" not in message and message.endswith(".")


def test_empty_and_missing_files(tmp_path):
    (tmp_path / "empty.csv").touch()
    for name in ("empty.csv", "missing.csv", "."):
        done = ilhte("fit", tmp_path / name)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_vignette_draws_5000_persons_of_a_larger_table_and_says_so(tmp_path):
    table = csv(tmp_path / "large.csv", small_trial(5100, 3))
    done = ilhte("fit", table, "--profile", "vignette")
    assert done.returncode == 0, done.stderr
    assert "5000 persons" in done.stdout and "5000 of 5100 persons were drawn" in done.stdout
    everyone = ilhte("fit", table, "--profile", "vignette", "--max-persons", "0")
    assert "5100 persons" in everyone.stdout


def test_simulate_writes_the_collection_reproducibly(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        assert ilhte("simulate", "--out", folder).returncode == 0
    files = sorted(f.name for f in first.iterdir())
    assert files == sorted(["truth.json", MANIFEST, *(f"{name}.csv.gz" for name in COLLECTION)])
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


@pytest.mark.parametrize("command", [[], ["fit"], ["run"], ["render"], ["simulate"]])
def test_help_shows_an_example(command):
    done = ilhte(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    if command:
        assert f"Example: ilhte {command[0]}" in done.stdout
