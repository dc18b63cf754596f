"""A site of one's own trials speaks of them: one, two or twenty tables, with covariates or without, or none that could be fitted."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")

import nbformat
import pandas as pd
import yaml

from ilhte_lib.data.catalogue import table_info
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS, effects
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.pages import own_trials
from ilhte_report.pages.results import RunResults, read_run
from ilhte_report.site.preview.site import build_site
from ilhte_report.site.render import prepare_site

PROJECT = Path(__file__).resolve().parents[1]
PAGES = ("index.qmd", "tables.qmd", "data.qmd")
OF_THE_COLLECTION = re.compile(r"bundled collection|caffeine|simulated (ones|tables)|half an hour", re.IGNORECASE)


def write_run(folder: Path, names: list[str], covariate: bool, failed: dict[str, str]) -> Path:
    """A run as the pages read it, its notebooks empty."""
    for name in ("tables", "fits"):
        (folder / name).mkdir(parents=True)
    summaries, items = [], []
    for k, name in enumerate(names):
        design = Design(80, 5, seed=500 + k, sigma_zeta=0.6, gamma=0.5 if covariate else None)
        trial = prepare(simulate_trial(design)[0], name)
        found = effects(trial, fit_models(trial))
        summaries.append(found.summary)
        items += found.items
        average = found.summary["ate_std"]
        told = {"average": {"low": average - 0.25, "high": average + 0.25}}
        contents = {
            "summary": found.summary,
            "items": found.items,
            "inference": {"told": told, **dict.fromkeys(("resampling", "sum_score", "steps"))},
        }
        (folder / "fits" / f"{name}.json").write_text(to_json(contents), encoding="utf-8")
        cell = nbformat.v4.new_raw_cell(f"---\ntitle: {json.dumps(name)}\n---", id="top")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "tables" / f"{name}.ipynb")
    pd.DataFrame(summaries, columns=list(SUMMARY_COLUMNS)).to_parquet(folder / "summary.parquet")
    pd.DataFrame(items, columns=list(ITEM_COLUMNS)).to_parquet(folder / "items.parquet")
    rows = [{"tab": name, "status": "fitted", "reason": None, "input_sha256": "0" * 64} for name in names]
    rows += [{"tab": tab, "status": "failed", "reason": reason, "input_sha256": ""} for tab, reason in failed.items()]
    record = {
        "finished": "2026-11-27T12:00:00+00:00",
        "settings": {"profile": "full", "engine": "native", "max_persons": None, "bootstrap": 0, "seed": None},
        "versions": {"ilhte": "0.1.0"},
        "tables": rows,
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def by_preview(project: Path, run: Path) -> None:
    prepare_site(project, run)
    build_site(project, run, {**os.environ, "ILHTE_RUN": str(run)}, lambda line: None)


def rendered(
    folder: Path,
    names: list[str],
    covariate: bool = True,
    failed: dict[str, str] | None = None,
    by: Callable[[Path, Path], object] = by_preview,
) -> dict[str, str]:
    """The text of the pages of a site of these tables, by page; a figure stands as ``[figure N]``."""
    project = folder / "project"
    project.mkdir()
    for name in (".ilhte-project", "references.bib", *PAGES):
        shutil.copy(PROJECT / name, project)
    for name in ("site", "data"):
        shutil.copytree(
            PROJECT / name, project / name, ignore=shutil.ignore_patterns("cache", "__pycache__", "computed")
        )
    config = yaml.safe_load((PROJECT / "_quarto.yml").read_text(encoding="utf-8"))
    config["project"]["render"] = [*PAGES, "/tables/*.ipynb"]
    config["website"]["navbar"]["left"] = [{"href": name, "text": name} for name in PAGES]
    (project / "_quarto.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for page in PAGES:  # to pages that this site has not
        path = project / page
        path.write_text(
            re.sub(r"\]\((notebooks/|own-data|methods)[^)]*\)", "]", path.read_text(encoding="utf-8")), encoding="utf-8"
        )
    run = write_run(project / "results" / "mine", names, covariate, failed or {})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        patched.setenv("PYTHONPATH", str(PROJECT))
        by(project, run)
    return {page: text_of(project / "_site" / Path(page).with_suffix(".html")) for page in PAGES}


def text_of(path: Path) -> str:
    page = path.read_text(encoding="utf-8")
    main = page[page.index("<h1") : page.index("</main>")]
    main = re.sub(
        r"<figure.*?Figure\s*(\d+).*?</figure>", r" [figure \1] ", main.replace("&nbsp;", " "), flags=re.DOTALL
    )
    main = re.sub(r"<(script|noscript|math|details)\b.*?</\1>", " ", main, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def headings(text: str, wanted: tuple[str, ...]) -> list[str]:
    return [heading for heading in wanted if f" {heading} " in text]


PARTS = (
    "The model",
    "Effects of items",
    "Who benefits most?",
    "How long do effects last?",
    "The tables",
    "Limitations",
)


def test_a_site_of_one_trial_has_its_name_and_counts_nothing(tmp_path):
    pages = rendered(tmp_path, ["reading_2024"])
    index = pages["index.qmd"]
    assert "{python}" not in index
    assert index.startswith("reading_2024") and "80 persons answered 5 items." in index
    average, low, high = (float(v.replace("−", "-")) for v in re.search(
        r"The average effect is (\S+) standard deviations of the persons \[95% interval (\S+) to (\S+)\]", index).groups())  # fmt: skip
    assert (low, high) == pytest.approx((average - 0.25, average + 0.25), abs=0.0101)
    assert headings(index, PARTS) == ["The model", "Who benefits most?", "The tables", "Limitations"]
    assert "[figure" not in index and "1 tables" not in index and "Of 1 " not in index
    for page, text in pages.items():
        assert not OF_THE_COLLECTION.search(text), page
    assert "1 table." in pages["tables.qmd"]


def test_a_site_of_two_trials_names_both_and_has_no_figure_of_two_points(tmp_path):
    index = rendered(tmp_path, ["north", "south"])["index.qmd"]
    assert index.startswith("north and south")
    assert headings(index, PARTS) == [
        "The model",
        "Effects of items",
        "Who benefits most?",
        "The tables",
        "Limitations",
    ]
    assert "[figure 1]" in index and "[figure 2]" not in index
    assert "Of 2 tables, " in index and not OF_THE_COLLECTION.search(index)


def test_a_site_of_twenty_trials_without_covariates_asks_nobody_who_benefits(tmp_path):
    failed = {"broken": "It holds no item with two different responses."}
    pages = rendered(tmp_path, [f"school_{k:02d}" for k in range(20)], covariate=False, failed=failed)
    index = pages["index.qmd"]
    assert index.startswith("20 trials") and "Of 20 tables, " in index
    assert headings(index, PARTS) == ["The model", "Effects of items", "The tables", "Limitations"]
    for page in PAGES:
        assert "broken: It holds no item with two different responses." in pages[page], page
        assert not OF_THE_COLLECTION.search(pages[page]), page


def test_a_site_of_a_run_in_which_all_failed_says_why_and_no_more(tmp_path):
    pages = rendered(tmp_path, [], failed={"a": "Column treat is missing.", "b": "It is empty."})
    index = pages["index.qmd"]
    assert index.startswith("No table could be fitted") and headings(index, PARTS) == []
    for text in pages.values():
        assert "a: Column treat is missing." in text and "b: It is empty." in text
        assert not OF_THE_COLLECTION.search(text)


@pytest.mark.parametrize(
    ("names", "covariate", "true"),
    [
        (["a"], False, {"own"}),
        (["a"], True, {"own", "covariate"}),
        (["a", "b"], True, {"own", "several", "covariate"}),
        (["a", "b", "c"], True, {"own", "several", "covariate", "interactions"}),
        ([], True, {"nothing"}),
    ],
)
def test_the_page_has_the_parts_that_a_run_has_use_for(tmp_path, monkeypatch, names, covariate, true):
    monkeypatch.chdir(PROJECT)
    run = read_run(write_run(tmp_path / "r", names, covariate, {}))
    block = own_trials.conditions(run, tells=False)
    facts = yaml.safe_load(block.strip().strip("-"))
    assert {name for name, value in facts.items() if value is True} == true
    assert facts["title"] == {0: "No table could be fitted", 1: "a", 2: "a and b", 3: "3 trials"}[len(names)]
    assert yaml.safe_load(own_trials.conditions(run, tells=False, titled=False).strip().strip("-")).keys() == true


def of_tables(names: list[str]) -> RunResults:
    """A run of these tables, fitted to nothing: what is counted, not what is found."""
    summary = pd.DataFrame(
        [{"tab": name, "ate_std": 0.1, "n_persons": 80, "n_items": 5, "delta_beta3": math.nan} for name in names]
    )
    record = {"tables": [{"tab": name, "status": "fitted"} for name in names], "settings": {"profile": "full"}}
    info = {name: table_info(name, PROJECT / "data") for name in names if name not in OWN}
    return RunResults(summary, pd.DataFrame({"tab": []}), record, info)


OWN = ["north", "south", "east", "west"]
SIMULATED, GROUPS, VISITS = "sim_n0200_j04_sz00_rho00", "verbagg_gender", "toenail_visits"


@pytest.mark.parametrize(
    ("names", "title", "counted"),
    [
        ([*OWN, SIMULATED, GROUPS], "4 trials and 2 other tables", OWN),
        ([*OWN[:2], SIMULATED], "2 trials and 1 other table", OWN[:2]),
        (["caffeine_anxiety", VISITS, GROUPS], "1 trial and 2 other tables", ["caffeine_anxiety"]),
        (OWN, "4 trials", OWN),
        ([SIMULATED, GROUPS, VISITS], "3 tables", [SIMULATED, GROUPS, VISITS]),
    ],
)
def test_only_trials_are_counted_as_trials(names, title, counted):
    run = of_tables(names)
    facts = yaml.safe_load(own_trials.conditions(run, tells=False).strip().strip("-"))
    assert facts["title"] == title and list(run.counted.summary["tab"]) == counted


def test_what_is_no_evidence_is_named_apart():
    told = own_trials.apart(of_tables([*OWN, SIMULATED, GROUPS, VISITS]))
    assert told.endswith(
        f'1 trial whose "items" are visits ({escaped(VISITS)}); 1 comparison of groups that nobody assigned '
        f"({escaped(GROUPS)}); 1 table simulated from known values."
    )
    assert own_trials.apart(of_tables(OWN)) == own_trials.apart(of_tables([SIMULATED, GROUPS])) == ""


def escaped(name: str) -> str:
    return name.replace("_", r"\_")


def test_a_run_of_an_earlier_version_is_one_sentence_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    folder = write_run(tmp_path / "r", ["a"], True, {})
    path = folder / "summary.parquet"
    pd.read_parquet(path).drop(columns=["predicted_bias", "method"]).to_parquet(path)
    project = tmp_path / "project"
    project.mkdir()
    with pytest.raises(
        InputError, match=r"^The run r was made by an earlier version of ilhte: call `ilhte run` again\.$"
    ):
        prepare_site(project, folder)
    assert not (project / "tables").exists()
    other = write_run(tmp_path / "s", ["a"], True, {})
    (other / "fits" / "a.json").write_text(json.dumps({"inference": {"told": {}}}), encoding="utf-8")
    for reader in (read_run, lambda run: prepare_site(project, run)):
        with pytest.raises(
            InputError, match=r"^a in the run s was made by an earlier version of ilhte: call `ilhte run` again\.$"
        ):
            reader(other)


def test_a_file_named_like_a_bundled_table_is_ones_own(tmp_path):
    """Else its page would tell of caffeine, and its numbers would be counted with those of the collection."""
    run = read_run(write_run(tmp_path / "r", ["caffeine_anxiety"], False, {}))
    assert run.info == {} and run.own and run.trials == ["caffeine_anxiety"]
