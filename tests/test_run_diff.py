"""Two runs compared: versions, settings, tables, decisions, estimates."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from run_cases import here, undisturbed

from ilhte_lib.errors import InputError
from ilhte_lib.files import sha256_of
from ilhte_report.run.diff import Change, compare_runs, print_diff, run_folder_named


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    """The same run twice, in `results` of a folder."""
    for name in ("a", "b"):
        shutil.copytree(undisturbed() / "run", tmp_path / "results" / name)
    return tmp_path / "results" / "a", tmp_path / "results" / "b"


def rewrite(run: Path, tab: str, **summary: object) -> None:
    """Another result of a table, as another run would have stored it."""
    path = run / "fits" / f"{tab}.json"
    document = json.loads(path.read_text())
    items = summary.pop("items", None)
    document["summary"] |= summary
    document["items"] = items(document["items"]) if items else document["items"]
    path.write_text(json.dumps(document))
    record = json.loads((run / "run.json").read_text())
    next(row for row in record["tables"] if row["tab"] == tab)["fit_sha256"] = sha256_of(path)
    (run / "run.json").write_text(json.dumps(record))


def edit_record(run: Path, edit) -> None:
    """Change ``run.json`` in place."""
    record = json.loads((run / "run.json").read_text())
    edit(record)
    (run / "run.json").write_text(json.dumps(record))


def test_equal_runs(two_runs: tuple[Path, Path]) -> None:
    """Times and last bits are no differences."""
    summary = json.loads((two_runs[0] / "fits" / "trial_000.json").read_text())["summary"]
    rewrite(two_runs[1], "trial_000", seconds=9.9, ate_std=summary["ate_std"] * (1 + 1e-12))
    diff = compare_runs(*two_runs)
    assert (diff.header, diff.only_before, diff.only_after, diff.tables, diff.n_same) == ([], [], [], {}, 2)


def test_estimates_and_decisions(two_runs: tuple[Path, Path]) -> None:
    """What changed, decisions first, with both values; what became undefined; the item that moved most."""

    def moved(items: list[dict]) -> list[dict]:
        items[1]["total_std"] += 0.5
        items[2]["total_std"] -= 0.25
        return items

    old = json.loads((two_runs[0] / "fits" / "trial_001.json").read_text())
    changed = {"ate_std": old["summary"]["ate_std"] + 0.1, "sig_il_hte": not old["summary"]["sig_il_hte"], "rho": None}
    rewrite(two_runs[1], "trial_001", **changed, items=moved)
    diff = compare_runs(*two_runs)
    assert list(diff.tables) == ["trial_001"]
    assert diff.n_same == 1
    changes = {change.what: (change.before, change.after) for change in diff.tables["trial_001"]}
    item = old["items"][1]
    assert changes == {
        **{name: (old["summary"][name], value) for name, value in changed.items()},
        f"item {item['item']} (moved most)": (item["total_std"], item["total_std"] + 0.5),
    }
    assert [change.is_decision for change in diff.tables["trial_001"]] == [True, False, False, False]


def test_tables_versions_settings_and_failures(two_runs: tuple[Path, Path]) -> None:
    """Tables of one run alone, a table that failed in one, other data, other versions and settings."""

    def edit(record: dict) -> None:
        record["versions"]["numpy"] = "9.9"
        record["settings"]["profile"] = "vignette"
        first, second = record["tables"]
        first |= {"status": "failed", "reason": "It broke.", "fit_sha256": None, "input_sha256": "f" * 64}
        record["tables"] = [first, {**second, "tab": "twin", "slug": "twin"}]

    edit_record(two_runs[1], edit)
    diff = compare_runs(*two_runs)
    assert [(change.what, change.after) for change in diff.header] == [
        ("numpy", "9.9"),
        ("settings profile", "vignette"),
    ]
    assert (diff.only_before, diff.only_after) == (["trial_001"], ["twin"])
    changes = {change.what: (change.before, change.after) for change in diff.tables["trial_000"]}
    assert changes["status"] == ("fitted", "failed: It broke.")
    assert changes["data"][1] == "ffffffff"


def test_item_names(two_runs: tuple[Path, Path]) -> None:
    """Items lost and gained are named."""
    rewrite(two_runs[1], "trial_000", items=lambda items: [*items[1:], {**items[0], "item": "new\x1b[2J"}])
    change = next(change for change in compare_runs(*two_runs).tables["trial_000"] if change.what == "items")
    assert change == Change("items", "i01", "new\\x1b[2J")


def test_not_a_run_and_changed_results(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    """A folder that is no run, and a result that is not as it was written, are each a sentence."""
    with pytest.raises(InputError, match="does not contain a run"):
        compare_runs(tmp_path, two_runs[0])
    with open(two_runs[1] / "fits" / "trial_000.json", "a") as document:
        document.write(" ")
    with pytest.raises(InputError, match=r"trial_000.json was changed after it was written"):
        compare_runs(*two_runs)


def test_command(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Runs by folder or by name; changes shown with both values and the difference."""
    rewrite(two_runs[1], "trial_001", ate_std=1.25)
    done = here("diff", "a", "results/b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "ate_std" in line)
    assert line.split()[:2] == ["trial_001", "ate_std"]
    assert "1.25" in line
    assert "1 unchanged, 1 changed" in done.stdout
    wrong = here("diff", "a", "c", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "There is no run c" in wrong.stderr


def test_shown_names_are_no_markup(two_runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's name is shown as it is written."""
    rewrite(two_runs[1], "trial_000", covariate="[red]evil[/red]")
    screen = io.StringIO()
    print_diff(Console(file=screen, width=160), compare_runs(*two_runs))
    assert "[red]evil[/red]" in screen.getvalue()
    monkeypatch.chdir(two_runs[0].parents[1])
    assert run_folder_named("a") == Path("results/a")
