"""Rebuilds the caffeine and film tables of data/tables from the R package psychTools (Debian: r-cran-psychtools).

    python scripts/psychtools_tables.py FOLDER

needs R with psychTools, and writes every table that the experiments have; those in data/tables are the ones that are bundled. The documentation of ``msqR``, ``sai`` and ``affect`` there
says what was measured, and when. Responses are kept as they were given, 0 (not at all) to 3 (very much); items of the opposite meaning
are reversed (3 minus the answer) and say so in the column ``keyed``.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

# The keys of the package's documentation; "-" marks an item of the opposite meaning.
SCALES = {
    "energy": "active energetic vigorous wakeful wide.awake full.of.pep lively -sleepy -tired -drowsy",
    "tension": "intense jittery fearful tense clutched.up -quiet -still -placid -calm -at.rest",
    "positive": "active excited strong inspired determined attentive interested enthusiastic proud alert",
    "negative": "jittery nervous scared afraid guilty ashamed distressed upset hostile irritable",
    "anxiety": "anxious high.strung jittery nervous rattled regretful tense upset worried worrying "
    "-at.ease -calm -comfortable -confident -content -joyful -pleasant -relaxed -rested -secure",
}
# Both forms of the questionnaire have these 67 adjectives; five were added to and three removed from one of them.
NOT_ON_BOTH_FORMS = ["anxious", "cheerful", "idle", "inactive", "tranquil", "alone", "kindly", "scornful"]
FILMS = {"sad": 1, "horror": 2, "comedy": 4}
NATURE_FILM = 3
FILM_STUDIES = ["FLAT", "Maps"]  # random assignment is documented for these two
PLACEBO, CAFFEINE = 1, 2
COVARIATES = {"Impulsivity": "cov_impulsivity", "Extraversion": "cov_extraversion", "Neuroticism": "cov_neuroticism"}


def read_package() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mood adjectives (0 to 3) and the anxiety inventory (1 to 4 in the package, 0 to 3 here), one row a person and time."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("msqR", "sai"):
            code = f"write.csv(psychTools::{name}, '{folder}/{name}.csv', row.names = FALSE)"
            subprocess.run(["Rscript", "-e", code], check=True)
        mood, anxiety = (pd.read_csv(f"{folder}/{name}.csv") for name in ("msqR", "sai"))
    mood, anxiety = (frame[frame["id"].notna()].copy() for frame in (mood, anxiety))
    for frame in (mood, anxiety):
        frame["cluster"] = frame["study"].astype(str)
        frame["id"] = frame["cluster"] + "." + frame["id"].astype(int).astype(str)
    items, _ = scale_items("anxiety")
    anxiety[items] -= 1
    # One person of a study without any experiment has two rows at one time; the first is kept.
    return mood, anxiety.drop_duplicates(["id", "time"])


def scale_items(scale: str) -> tuple[list[str], set[str]]:
    """The items of a scale in its key's order, and those of the opposite meaning."""
    keys = SCALES[scale].split()
    return [key.removeprefix("-") for key in keys], {key.removeprefix("-") for key in keys if key.startswith("-")}


def long_rows(answers: pd.DataFrame, items: list[str], reversed_items: set[str], columns: list[str]) -> pd.DataFrame:
    """One row an answer, item after item in the order of the persons; answers not given have no row."""
    answers = answers.copy()
    flipped = [item for item in items if item in reversed_items]
    answers[flipped] = 3 - answers[flipped]
    long = answers.melt(columns, items, "item", "resp").dropna(subset=["resp"])
    long["keyed"] = long["item"].map(lambda item: "reversed" if item in reversed_items else "direct")
    return long.astype({"resp": int})


def caffeine(scale: str, mood: pd.DataFrame, anxiety: pd.DataFrame) -> pd.DataFrame:
    """Caffeine against placebo: the questionnaire after the drug."""
    first = mood[mood["time"].eq(1) & mood["drug"].isin([PLACEBO, CAFFEINE])].rename(columns=COVARIATES)
    first["treat"] = first["drug"].eq(CAFFEINE).astype(int)
    first["wave"] = 1
    covariates = list(COVARIATES.values())
    if scale == "mood67":
        start, end = first.columns.get_loc("active"), first.columns.get_loc("scornful")
        items = [name for name in first.columns[start : end + 1] if name not in NOT_ON_BOTH_FORMS]
        reversed_items: set[str] = set()
        covariates = covariates[:1]
    else:
        items, reversed_items = scale_items(scale)
    columns = ["id", "treat", "wave", *covariates, "cluster"]
    if scale == "anxiety":
        first = first[columns].merge(anxiety.loc[anxiety["time"].eq(1), ["id", *items]], on="id")
    long = long_rows(first, items, reversed_items, columns)
    return long[["id", "item", "resp", "treat", "wave", *covariates, "cluster", "keyed"]]


def film(clip: str, scale: str, mood: pd.DataFrame, anxiety: pd.DataFrame) -> pd.DataFrame:
    """A film clip against the nature film: before (wave 0), right after (1) and half an hour later (2)."""
    items, reversed_items = scale_items(scale)
    people = mood[mood["time"].eq(1) & mood["study"].isin(FILM_STUDIES)].rename(columns=COVARIATES)
    asked = (anxiety if scale == "anxiety" else mood)[["id", "time", *items]]
    if scale == "anxiety":  # asked before and after the film in one of the two studies
        people = people[people["id"].isin(asked.loc[asked["time"].eq(2), "id"])]
    before = asked[asked["time"].eq(1) & asked["id"].isin(people["id"])].set_index("id")[items]
    flipped = [item for item in items if item in reversed_items]
    before[flipped] = 3 - before[flipped]
    total = before.sum(axis=1, skipna=False)
    watched = people["film"].isin([FILMS[clip], NATURE_FILM])
    # Adjectives: in SDs of all who saw any film; anxiety: of those in the table.
    among = total[total.index.isin(people.loc[watched, "id"])] if scale == "anxiety" else total
    people["std_baseline"] = people["id"].map(((total - among.mean()) / among.std()).round(6))
    people = people[watched]
    people["treat"] = people["film"].eq(FILMS[clip]).astype(int)
    columns = ["id", "treat", "std_baseline", "cov_extraversion", "cov_neuroticism", "cluster"]
    answers = asked.assign(wave=asked["time"].astype(int) - 1).merge(people[columns], on="id")
    long = long_rows(answers, items, reversed_items, [*columns, "wave"])
    kept = ["id", "item", "resp", "treat", "wave", *columns[2:], "keyed"]
    return long[[name for name in kept if name != "cluster" or scale != "anxiety"]]


def build() -> dict[str, pd.DataFrame]:
    """Every table by name."""
    package = read_package()
    tables = {f"caffeine_{scale}": caffeine(scale, *package) for scale in [*SCALES, "mood67"]}
    return tables | {f"film_{clip}_{scale}": film(clip, scale, *package) for clip in FILMS for scale in SCALES}


def write(table: pd.DataFrame, path: Path) -> None:
    """As compressed CSV, the same bytes at every call."""
    path.write_bytes(gzip.compress(table.to_csv(index=False, float_format="%.10g").encode(), mtime=0))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in build().items():
        write(table, folder / f"{name}.csv.gz")
