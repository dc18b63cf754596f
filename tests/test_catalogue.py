"""The bundled collection: files, catalogue, bibliography and licences agree."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ilhte_lib.data.catalogue import bundled_tables, load_bundled, table_info
from ilhte_lib.data.prepare import prepare
from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import COLLECTION, DESIGNS, SPURIOUS_INTERACTION, simulate_trial

CAFFEINE = [f"caffeine_{scale}" for scale in ("anxiety", "energy", "tension", "positive", "negative")]
FILMS = [
    f"film_{clip}_{scale}"
    for clip in ("sad", "horror", "comedy")
    for scale in ("negative", "tension", "energy", "positive")
]
TRIALS = [*CAFFEINE, *FILMS]
OTHERS = [
    "bacteria_weeks",
    "respiratory_visits",
    "toenail_visits",
    "mathexam14w_group",
    "spisa_gender",
    "verbagg_gender",
]
REAL = [*TRIALS, *OTHERS]


@pytest.fixture(scope="module")
def data(project):
    return project / "data"


def test_the_collection_is_the_trials_the_other_real_tables_and_the_simulated_ones(data):
    assert bundled_tables(data) == REAL + list(COLLECTION)
    assert bundled_tables(None) == list(COLLECTION)
    assert sorted(p.name for p in (data / "tables").iterdir()) == sorted(f"{tab}.csv.gz" for tab in REAL)
    assert [tab for tab in bundled_tables(data) if table_info(tab, data).is_trial] == TRIALS


@pytest.mark.parametrize("tab", REAL)
def test_real_tables_match_their_checksum_and_load(data, tab):
    info = table_info(tab, data)
    assert info.kind == "real" and info.truth is None
    assert hashlib.sha256((data / "tables" / f"{tab}.csv.gz").read_bytes()).hexdigest() == info.sha256
    table = load_bundled(tab, data)
    assert list(table)[:4] == ["id", "item", "resp", "treat"]
    assert set(table["treat"]) == {0, 1} and set(table["resp"]) == ({0, 1, 2, 3} if tab in TRIALS else {0, 1})
    one_answer = [name for name in ("id", "item", "wave") if name in table]
    assert (table.groupby("id")["treat"].nunique() == 1).all() and not table.duplicated(one_answer).any()
    assert info.experiment and info.randomisation and info.items_are in ("items", "visits")


@pytest.mark.parametrize("tab", TRIALS)
def test_ratings_are_loaded_as_they_were_given_and_the_catalogue_has_a_threshold_for_0_and_1(data, tab):
    info, table = table_info(tab, data), load_bundled(tab, data)
    assert table["resp"].tolist() == pd.read_csv(data / "tables" / f"{tab}.csv.gz")["resp"].tolist()
    word = info.labels.split("; ")[info.threshold].removeprefix(f"{info.threshold} ")
    assert word == ("a little" if tab.endswith("negative") else "moderately")
    assert ("3 minus" in info.response) == (set(table["keyed"]) == {"direct", "reversed"})
    as_given, cut = (prepare(table, tab, threshold=threshold) for threshold in (None, info.threshold))
    assert as_given.formats is not None and cut.formats is None and set(cut.resp) == {0, 1}
    assert cut.resp.mean() == (table[table["wave"] == 1]["resp"] >= info.threshold).mean()


@pytest.mark.parametrize(
    ("tab", "persons", "items", "randomised", "lower_is_better"),
    [
        ("caffeine_anxiety", 1554, 20, True, True),
        ("film_sad_negative", 168, 10, True, True),
        ("bacteria_weeks", 50, 5, True, True),
        ("mathexam14w_group", 729, 13, False, False),
        ("respiratory_visits", 111, 4, True, False),
        ("spisa_gender", 1075, 45, False, False),
        ("toenail_visits", 289, 6, True, True),
        ("verbagg_gender", 316, 24, False, True),
    ],
)
def test_what_the_catalogue_says_of_each_real_table(data, tab, persons, items, randomised, lower_is_better):
    info, table = table_info(tab, data), load_bundled(tab, data)
    assert (table["id"].nunique(), table["item"].nunique()) == (persons, items)
    assert (info.randomised, info.lower_is_better) == (randomised, lower_is_better)
    assert randomised or info.note.startswith("Not an experiment")
    columns = re.findall(r"std_baseline|cov_\w+", info.pretest)
    of_items = {name for name in table.columns if name.startswith("itemcov_")}
    assert (
        set(columns)
        == set(table.columns) - {"id", "item", "resp", "treat", "wave", "cluster", "study", "keyed"} - of_items
    )


def test_every_citation_key_has_its_entry_and_every_entry_its_table(data):
    entries = re.findall(r"^@\w+\{([^,]+),", (data / "citations.bib").read_text(encoding="utf-8"), re.MULTILINE)
    keys = [key for tab in REAL for key in table_info(tab, data).citation_key.split(";")]
    assert len(set(entries)) == len(entries) and set(entries) == set(keys)


def test_the_licences_name_each_table_with_the_catalogue_s_licence(data):
    lines = (data / "LICENSES").read_text(encoding="utf-8").splitlines()
    for tab in REAL:
        name = f"{tab.partition('_')[0]}_*" if tab in TRIALS else f"{tab} "
        (line,) = [line for line in lines if name in line and "data set" in line]
        assert f" {table_info(tab, data).licence} " in line
    assert "GNU GENERAL PUBLIC LICENSE" in (data / "GPL-2.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("tab", list(COLLECTION))
def test_simulated_tables_say_so_everywhere(data, tab):
    info = table_info(tab, data)
    assert info.kind == "simulated" and tab.startswith("sim_") and info.title.startswith("Simulated")
    assert info.note.startswith("Simulated") and info.truth["seed"] == COLLECTION[tab].seed
    assert ("std_baseline" in info.pretest) == (COLLECTION[tab].gamma is not None)


def test_the_identification_table_is_described(data):
    assert "identification problem" in table_info(SPURIOUS_INTERACTION, data).note


def test_a_simulated_table_loads_as_it_is_drawn():
    tab = "sim_n0500_j06_sz60_rhom60_pre"
    pd.testing.assert_frame_equal(load_bundled(tab, None), simulate_trial(DESIGNS[tab])[0])


@pytest.mark.parametrize("name", ["verbag_gender", "sim_n500_j20_sz40_rho50", "../../etc/passwd", "", "zzz"])
def test_an_unknown_name_is_one_clear_sentence(data, name):
    with pytest.raises(InputError, match="no bundled table") as caught:
        load_bundled(name, data)
    if name == "verbag_gender":
        assert "verbagg_gender" in str(caught.value)


def test_an_altered_or_absent_file_is_refused(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "tables" / "bacteria_weeks.csv.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="checksum"):
        load_bundled("bacteria_weeks", tmp_path / "data")
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_bundled("bacteria_weeks", tmp_path / "data")
    with pytest.raises(InputError, match="data folder"):
        bundled_tables(tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("tab", REAL)
def test_bundled_files_are_the_reference_data_byte_for_byte(data, shared, tab):
    name = f"{tab}.csv.gz"
    ours, theirs = ((folder / "tables" / name).read_bytes() for folder in (data, shared / "data"))
    assert gzip.decompress(ours) == gzip.decompress(theirs)


@pytest.mark.r
def test_the_script_rebuilds_the_tables_from_the_package(project, data, tmp_path):
    if not (shutil.which("Rscript") and Path("/usr/lib/R/site-library/psychTools").is_dir()):
        pytest.skip("needs R with psychTools (Debian: r-cran-psychtools)")
    script = project / "scripts" / "psychtools_tables.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=300)
    for tab in TRIALS:
        built = (tmp_path / f"{tab}.csv.gz").read_bytes()
        assert hashlib.sha256(built).hexdigest() == table_info(tab, data).sha256
    # what is built beside them is not bundled: 67 words of no one scale, and a scale that one of the two film studies asked
    more = {path.name.removesuffix(".csv.gz") for path in tmp_path.iterdir()} - set(TRIALS)
    assert more == {"caffeine_mood67", "film_sad_anxiety", "film_horror_anxiety", "film_comedy_anxiety"}


def test_item_types_are_those_of_the_items_and_of_the_column_keyed(data):
    types = pd.read_csv(data / "item_types.csv")
    assert not types.duplicated(["tab", "item", "covariate"]).any()
    keyed = set()
    for tab in REAL:
        table = load_bundled(tab, data)
        for name in [name for name in table if name.startswith("itemcov_")]:
            assert table[name].notna().all() and table.groupby("item")[name].nunique().max() == 1
        if "keyed" in table and table["keyed"].nunique() > 1:
            keyed.add(tab)
            assert (table["itemcov_keyed"] == table["keyed"]).all()
    assert set(types["tab"]) == {*keyed, "verbagg_gender"}
    mode = load_bundled("verbagg_gender", data).drop_duplicates("item").set_index("item")["itemcov_mode"]
    assert all((value == "do") == ("do" in item.lower()) for item, value in mode.items())
