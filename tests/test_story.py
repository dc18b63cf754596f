"""The vignette's story: its numbers come from the results, and the results say what its sentences say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("plotly", reason="plotly is not installed (extra 'report')")

from ilhte_lib.analysis import document
from ilhte_lib.data.catalogue import load_bundled, table_info
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import infer, with_resampling
from ilhte_report.pages import behind, story
from ilhte_report.pages.results import RunResults
from ilhte_report.words.numbers import number

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"
REPLICATES = 19


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """The four tables of the story, fitted."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "fits").mkdir()
    summaries, items = [], []
    for tab in (story.CAFFEINE, *story.FILMS):
        trial = prepare(load_bundled(tab, DATA), tab)
        fits = fit_models(trial)
        found = effects(trial, fits)
        items += found.items
        if tab == story.CAFFEINE:
            inference = infer(trial, fits, replicates=REPLICATES)
            found = with_resampling(found, inference)
            contents = document(trial, fits, found, inference, input_sha256=None)
            (folder / "fits" / f"{tab}.json").write_text(to_json(contents), encoding="utf-8")
        summaries.append(found.summary)
    record = {"tables": [{"tab": row["tab"], "status": "fitted"} for row in summaries], "settings": {"profile": "full"}}
    info = {row["tab"]: table_info(row["tab"], DATA) for row in summaries}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(PROJECT)
        patched.setenv("ILHTE_RUN", str(folder))
        yield RunResults(pd.DataFrame(summaries), pd.DataFrame(items), record, info, folder)


@pytest.fixture(scope="module")
def fading(run) -> story.Fading:
    """The films at three times, fitted once for all tests."""
    return story.Fading(run)


def ends(text: str) -> tuple[float, float]:
    """The ends of an interval as it is written."""
    low, high = re.findall(r"−?\d+\.\d+", text.partition("[")[2] or text)
    return float(low.replace("−", "-")), float(high.replace("−", "-"))


def test_the_total_says_nothing_and_the_items_say_what_the_page_says(run):
    told = story.Anxiety(run)
    for text in (told.total_interval, told.average, told.beta3_without, told.beta3_with):
        low, high = ends(text)
        assert low < 0 < high
    change = told.items.set_index("item")["change"]
    assert set(change[["rattled", "jittery", "anxious"]]) == {"more"}
    assert set(change[["worried", "worrying"]]) == {"unclear"}
    assert set(change[["joyful", "rested"]]) == {"less"}  # of the reversed items: less often "not joyful"
    assert told.more + told.less + told.unclear == 20 and told.more > 5 and told.less > 3
    raw = load_bundled(story.CAFFEINE, DATA).groupby(["item", "treat"])["resp"].mean()
    assert told.rating("rattled") == f"{raw['rattled', 0]:.2f} to {raw['rattled', 1]:.2f}"
    assert told.rating("joyful") == f"{3 - raw['joyful', 0]:.2f} to {3 - raw['joyful', 1]:.2f}"
    for word in ("rattled", "jittery", "anxious", "joyful", "rested"):
        before, after = map(float, told.rating(word).split(" to "))
        assert before < after
    assert told.points == 60
    assert story.Anxiety(run.only([story.CAFFEINE])).unequal_steps == "1 of 1"
    assert told.studies == 11 and told.persons == "1,554"


def test_the_artefact_in_real_data_has_the_sign_that_the_page_predicts(run):
    row = run.row(story.CAFFEINE)
    assert row["covariate"] == "cov_neuroticism"
    assert row["rho"] < 0 and row["sd_ratio"] < 1
    assert ends(story.Anxiety(run).beta3_compared)[0] > 0


def test_the_effect_of_the_sad_film_fades(fading):
    told = fading
    before, after, later = (ends(told.at("film_sad_negative", wave)) for wave in story.TIMES)
    assert before[0] < 0 < before[1] and after[0] > 1 and later[0] < 0 < later[1]
    assert told.persons("film_sad_negative", 2) < told.persons("film_sad_negative", 1)
    assert list(told.rows.groupby("wave").size()) == [3, 3, 3]


def test_the_figures_of_the_story(run, fading):
    told, film = story.Anxiety(run), fading
    figure = told.figure()
    assert list(figure.layout.yaxis.ticktext)[::-1][:3] == ["rattled", "jittery", "high strung"]
    assert figure.layout.yaxis.ticktext[0] == "not joyful"
    assert {note.text for note in figure.layout.annotations} == {"placebo", "caffeine"}
    full = [trace for trace in figure.data if trace.showlegend is None]
    assert sum(len(trace.x) for trace in full) == 20
    assert [trace.name for trace in film.figure().data] == ["Sad film", "Horror film", "Comedy"]
    assert "rattled 0.28 to 0.54" in told.alt and film.alt.count(" before ") == 3


def test_the_tables_behind_the_figures_hold_what_is_drawn(run, fading):
    told, film = story.Anxiety(run), fading
    rows = behind.story_rows(told)
    assert [row["Rated"] for row in rows] == list(told.figure().layout.yaxis.ticktext)[::-1]
    for row, item in zip(rows, told.items.iloc[::-1].itertuples(), strict=True):
        low, high = ends(row["95% interval"])
        assert (low > 0, high < 0) == (item.change == "more", item.change == "less")
    times = behind.fading_rows(film, story.TIMES)
    drawn = [y for trace in film.figure().data for y in trace.y]
    assert [float(row["Effect, SDs"].replace("−", "-")) for row in times] == pytest.approx(drawn, abs=0.0051)
    effects_drawn = behind.effects_rows(run)
    assert [row["Table"] for row in effects_drawn] == list(run.summary.sort_values("ate_std")["tab"])
    assert effects_drawn[-1]["Highest item"] == number(
        run.items[run.items["tab"] == effects_drawn[-1]["Table"]]["total_std"].max(), 2
    )
    compared = behind.interaction_rows(run)
    assert len(compared) == run.n_interaction
    for row in compared:
        assert row["Difference"] == number(run.row(row["Table"])["delta_beta3"], 3)


def test_a_run_without_the_story_s_trials_does_not_tell_it(run):
    assert story.tells(run) and not story.tells(run.only(["film_sad_negative"]))
    assert run.trials == list(run.summary["tab"]) and run.n_experiments == 2
    nothing = story.Untold()
    assert nothing.average == nothing.rating("rattled") == nothing.at("film_sad_negative", 1) == ""


def test_the_page_is_short():
    text = (PROJECT / "index.qmd").read_text(encoding="utf-8").split("---\n", 2)[2]
    captions = " ".join(re.findall(r'fig-cap: "(.*)"', text))
    of_others = r'::: \{\.content-visible when-meta="own"\}.*?\n:::\n'
    prose = re.sub(rf"{of_others}|```.*?```|\$\$.*?\$\$", " ", text, flags=re.DOTALL)
    prose = re.sub(r"^:::.*$", " ", prose, flags=re.MULTILINE)
    words = [word for word in f"{prose} {captions}".split() if re.search(r"\w", word)]
    assert 1000 < len(words) <= 1500
