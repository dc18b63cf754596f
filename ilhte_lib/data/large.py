"""Trials too large for memory: the same rules as ``prepare`` under profile full, counted in SQL over a Parquet or CSV file.

Three scans of the file, each a group-by: what items, arms and waves hold; if there are candidates for the covariate, how
they go with the responses; one row a person, grouped into classes at once. Python sees items and classes, never
responses or persons. What depends on the order of rows (draws, a covariate that changes within a person) or on more than
one row a cell (repeated rows) is refused in a sentence, not guessed. Ids are told apart as they are written.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from ..model.compress import SufficientStatistics, classes
from .covariate import Candidate
from .identifiers import check_identifiers
from .prepare import (
    check_columns,
    chosen_among,
    keep_binary_items,
    keep_wave,
    natural_key,
    not_the_numbers,
    note_arms_of_items,
)
from .relations import (
    CELLS,
    COVARIATE_ONES,
    MARKED,
    MISSING_WORDS,
    NUMBERED_CELLS,
    NUMBERED_ITEMS,
    NUMBERED_WAVES,
    WORD,
    DuckDB,
    Relations,
    classes_sql,
    correlation_sql,
    is_parquet,
    persons_sql,
)
from .trial import Audit, AuditEntry

if TYPE_CHECKING:
    import pandas as pd

LARGE_ROWS = 5_000_000
"""A table with more rows is read this way by ``ilhte fit``."""
LARGE_TEXT = 200_000_000
"""So is a CSV file with more bytes."""
MOST_VALUES = 1_000_000
MOST_CELLS = 60_000_000
"""More classes times items than this would not fit into memory when fitting (about 40 bytes each)."""


@dataclass(frozen=True)
class LargeTrial:
    """A prepared trial as its sufficient statistics; stands for ``prepare.Trial`` in ``fit_models``, ``effects`` and ``document``.

    Attributes
    ----------
    tab, profile, covariate_name, covariate_correlation, wave, audit, flags : as in ``prepare.Trial``.
    clustered : whether the file has a column cluster, which is not read.
    statistics : without covariate, over all persons kept.
    with_covariate : with the standardised covariate, over the persons who have one; None if there is no covariate.
    answers, ones : (2, J) responses and responses of 1 to each item by arm (control, treated).
    """

    tab: str
    statistics: SufficientStatistics = field(repr=False)
    with_covariate: SufficientStatistics | None = field(repr=False)
    answers: np.ndarray = field(repr=False)
    ones: np.ndarray = field(repr=False)
    covariate_name: str | None
    covariate_correlation: float
    wave: str | None
    audit: tuple[AuditEntry, ...]
    flags: tuple[str, ...]
    clustered: bool
    profile: str = "full"

    @property
    def item_names(self) -> tuple[str, ...]:
        """J names in natural order."""
        return self.statistics.item_names

    @property
    def n_persons(self) -> int:
        """P."""
        return self.statistics.n_persons

    @property
    def n_items(self) -> int:
        """J."""
        return self.statistics.n_items

    @property
    def n_responses(self) -> int:
        """n."""
        return self.statistics.n_responses

    @property
    def covariate(self) -> np.ndarray | None:
        """(G,) covariate of the classes, or None."""
        return None if self.with_covariate is None else self.with_covariate.covariate

    def item_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(2, J) number of responses, and of responses of 1, to each item by arm."""
        return self.answers, self.ones

    def audit_rows(self) -> list[dict]:
        """The audit as plain dictionaries, for JSON and tables."""
        return [asdict(entry) for entry in self.audit]


def is_large(path: Path) -> bool:
    """Whether a file is one for ``large_trial``: Parquet with many rows, or much CSV."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        try:
            import pyarrow.parquet as pq

            return pq.read_metadata(path).num_rows > LARGE_ROWS
        except (ImportError, OSError, ValueError):
            return False
    return name.endswith(".csv") and path.stat().st_size > LARGE_TEXT


def large_trial(
    path: str | Path,
    tab: str | None = None,
    *,
    covariate: str | None = None,
    wave: str | None = None,
    id: str = "id",
    item: str = "item",
    resp: str = "resp",
    treat: str = "treat",
    wave_column: str = "wave",
    relations: Relations | None = None,
) -> LargeTrial:
    """Prepare a trial by profile full without reading its responses into Python.

    Parameters
    ----------
    path : a Parquet or CSV file in long format.
    tab : its name, for messages and results; default the file's name.
    covariate, wave : as for ``prepare.prepare``.
    id, item, resp, treat, wave_column : names of the columns in the file; only the wave's may be absent.
    relations : the engine; default DuckDB in this process.

    Raises
    ------
    InputError : the file cannot be used so; one sentence names the reason and the remedy.
    EngineError : DuckDB is not installed.
    """
    path = Path(path)
    tab = tab or path.name.split(".")[0]
    names = {"id": id, "item": item, "resp": resp, "treat": treat}
    if relations is not None:
        return _Reduction(relations, path, tab, names, wave_column, covariate).trial(wave)
    with DuckDB() as own:
        return _Reduction(own, path, tab, names, wave_column, covariate).trial(wave)


class _Reduction:
    """One file on its way to sufficient statistics."""

    def __init__(
        self, relations: Relations, path: Path, tab: str, names: dict[str, str], wave_column: str, asked: str | None
    ):
        import pandas as pd

        self.relations, self.tab, self.asked, self.audit = relations, tab, asked, Audit()
        columns = relations.columns(path)
        roles = {name: role for role, name in names.items()}
        header = [roles.get(name, name) for name in columns]
        check_columns(pd.DataFrame([[0] * len(header)], columns=header), tab, asked, None)
        self.clustered = "cluster" in columns
        self.has_wave = wave_column in columns
        self.candidates = [asked] if asked else [c for c in columns if c == "std_baseline"]
        self.candidates = self.candidates or [c for c in columns if c.startswith("cov_")]
        is_text = not is_parquet(path)

        def column(name: str) -> str:
            value = '"' + name.replace('"', '""') + '"'
            words = ", ".join(f"'{word}'" for word in MISSING_WORDS)
            return f"CASE WHEN {value} IN ({words}) THEN NULL ELSE {value} END" if is_text else value

        def number(name: str) -> str:
            return f"NULLIF(TRY_CAST({column(name)} AS DOUBLE), CAST('NaN' AS DOUBLE))"

        def bad(name: str) -> str:
            return (
                f"CASE WHEN {column(name)} IS NOT NULL AND TRY_CAST({column(name)} AS DOUBLE) IS NULL THEN 1 ELSE 0 END"
            )

        select = {"id": column(names["id"]), "item": column(names["item"])}
        for role in ("resp", "treat"):
            select |= {role: number(names[role]), f"bad_{role}": bad(names[role])}
            select |= {f"raw_{role}": f"CAST({column(names[role])} AS STRING)"}
        select["wave"] = column(wave_column) if self.has_wave else "CAST(NULL AS BIGINT)"
        for k, name in enumerate(self.candidates):
            select |= {f"covariate{k}": number(name), f"bad_covariate{k}": bad(name)}
        relations.open(path, select)

    def trial(self, wave: str | None) -> LargeTrial:
        """Everything, in the order of ``prepare.prepare``."""
        relations = self.relations
        cells = self._cells()
        in_wave, kept_wave, wave_entries = self._wave(cells, wave)
        self._check_numbers(cells[cells["k"].notna() & in_wave])
        answered = cells[cells["k"].notna() & in_wave & cells["resp"].notna() & cells["treat"].notna()]
        kinds, item_entries, item_flags = self._binary_items(answered)
        order = sorted((k for k, kind in kinds.items() if kind == "binary"), key=lambda k: natural_key(self.names[k]))
        position = {k: at for at, k in enumerate(order)}
        relations.table(
            "fates",
            {
                "k": list(self.names),
                "kind": [kinds.get(k, "constant") for k in self.names],
                "word": [position[k] // WORD if k in position else -1 for k in self.names],
                "bit": [1 << position[k] % WORD if k in position else 0 for k in self.names],
            },
        )
        relations.view("marked", MARKED.format(every_wave=int(kept_wave is None)))
        covariate_notes = Audit()
        chosen, correlation = self._covariate(covariate_notes)
        n_words = -(-len(order) // WORD)
        relations.keep("persons", persons_sql(n_words, chosen))
        self._check_persons(n_words, chosen)
        self._write_audit(cells, in_wave, wave_entries, covariate_notes, kinds, item_entries, item_flags)

        answers, ones = np.zeros((2, len(order))), np.zeros((2, len(order)))
        used = answered[answered["k"].map(kinds) == "binary"]
        at = (used["treat"].to_numpy(int), used["k"].map(position).to_numpy(int))
        np.add.at(answers, at, used["named"])
        np.add.at(ones, at, used["named"] * used["resp"])
        self.note_arms_of_items([self.names[k] for k in order], answers, ones)

        treat, score, value, trials, count = self._classes(n_words, len(order))
        item_names = tuple(self.names[k] for k in order)
        statistics = classes(item_names, treat, score, trials, None, ones, int(answers.sum()), count)
        covariate = None if chosen is None else self._standardised(self.candidates[chosen], value, treat, count)
        with_covariate = None
        if covariate is not None:
            known = ~np.isnan(covariate)
            totals = ones if known.all() else self._ones_with_covariate(position)
            n_responses = int(count[known] @ trials[known].sum(axis=1))
            with_covariate = classes(
                item_names,
                treat[known],
                score[known],
                trials[known],
                covariate[known],
                totals,
                n_responses,
                count[known],
            )
        return LargeTrial(
            tab=self.tab,
            statistics=statistics,
            with_covariate=with_covariate,
            answers=answers,
            ones=ones,
            covariate_name=None if covariate is None else self.candidates[chosen],
            covariate_correlation=float("nan") if covariate is None else correlation,
            wave=kept_wave,
            audit=tuple(self.audit.entries),
            flags=tuple(self.audit.flags),
            clustered=self.clustered,
        )

    # -- the first scan -----------------------------------------------------------------------------------------

    def _cells(self) -> pd.DataFrame:
        """Counts by item (k), response, arm and wave (w); ``names`` are the items' by k."""
        import pandas as pd

        relations = self.relations
        relations.keep("cells", CELLS)
        size = int(relations.fetch("SELECT COUNT(*) AS n FROM cells")["n"][0])
        if size > MOST_VALUES:
            raise InputError(
                f"Table {quoted(self.tab)} has {size:,} combinations of item, response, arm and wave, too many for binary "
                "responses: check which columns are item and resp."
            )
        if size == 0:
            raise InputError(
                f"Table {quoted(self.tab)} has a header but no rows: check that the file was written completely."
            )
        relations.keep("items", NUMBERED_ITEMS)
        relations.keep("waves", NUMBERED_WAVES)
        items = relations.fetch("SELECT k, item FROM items ORDER BY k")
        labels = check_identifiers(pd.Series(items["item"]), "item", self.tab)
        whole = labels.dtype == float and bool((labels % 1 == 0).all())
        texts = [str(v) for v in (labels.astype("int64") if whole else labels)]
        self.names = dict(zip(items["k"].tolist(), texts, strict=True))
        cells = pd.DataFrame(relations.fetch(NUMBERED_CELLS))
        return cells.astype({"n": int, "named": int})

    def _wave(self, cells: pd.DataFrame, asked: str | None) -> tuple[pd.Series, str | None, Audit]:
        """Which cells are of the wave that is kept (its label, None for all), and what there is to say."""
        import pandas as pd

        said = Audit()
        everywhere = pd.Series(True, index=cells.index)
        if not self.has_wave:
            keep_wave(pd.DataFrame({"id": [0], "item": [0]}), self.tab, False, asked, said)
            self.relations.table("kept_waves", {"w": [0]})
            return everywhere, None, said
        waves = self.relations.fetch("SELECT w, wave FROM waves ORDER BY w")
        present = pd.DataFrame({"w": waves["w"], "wave": waves["wave"]})
        if cells["w"].isna().any():
            present = pd.concat([present, pd.DataFrame({"w": [-1], "wave": [None]})], ignore_index=True)
        present = present.assign(id=range(len(present)), item=range(len(present)))
        kept, label = keep_wave(present, self.tab, False, asked, said)
        numbers = kept["w"].astype(int).tolist()
        self.relations.table("kept_waves", {"w": numbers})
        return (everywhere if label is None else cells["w"].isin(numbers)), label, said

    def _check_numbers(self, cells: pd.DataFrame) -> None:
        import pandas as pd

        for role in ("resp", "treat"):
            values = cells[role]
            bad = int(cells[f"bad_{role}"].sum())
            wrong = f"bad_{role} = 1"
            if role == "treat" and (values.notna() & ~values.isin((0.0, 1.0))).any():
                bad += int(cells.loc[values.notna() & ~values.isin((0.0, 1.0)), "named"].sum())
                wrong += " OR treat NOT IN (0, 1)"
            if role == "resp" and np.isinf(values).any():
                bad += int(cells.loc[np.isinf(values), "named"].sum())
                wrong += " OR ABS(resp) > 1e308"
            if bad:
                shown = self.relations.fetch(
                    f"SELECT DISTINCT raw_{role} AS value FROM responses WHERE {wrong} LIMIT 4"
                )
                which = "id, item" if role == "resp" else "id, MIN(item) AS item"
                group = "" if role == "resp" else "GROUP BY id"
                rows = self.relations.fetch(
                    f"SELECT {which} FROM responses WHERE {wrong} {group} ORDER BY id, item LIMIT 4"
                )
                raise not_the_numbers(role, self.tab, bad, sorted(map(str, shown["value"])), pd.DataFrame(rows))

    def _binary_items(self, answered: pd.DataFrame) -> tuple[dict[int, str], list[AuditEntry], list[str]]:
        """What each item with responses is: "constant", "binary" or "polytomous"; and what there is to say."""
        import pandas as pd

        said = Audit()
        pairs = answered[["k", "resp"]].drop_duplicates().sort_values(["k", "resp"])
        values = pairs.groupby("k")["resp"].nunique()
        kinds = {int(k): "constant" if n == 1 else "binary" if n == 2 else "polytomous" for k, n in values.items()}
        table = pd.DataFrame(
            {"id": 0, "item": [self.names[int(k)] for k in pairs["k"]], "resp": pairs["resp"].to_numpy()}
        )
        keep_binary_items(table, self.tab, False, said)
        return kinds, said.entries, said.flags

    # -- the covariate ------------------------------------------------------------------------------------------

    def _covariate(self, audit: Audit) -> tuple[int | None, float]:
        """Which candidate is the covariate, and its correlation with the responses of the control arm."""
        judged = []
        for k, name in enumerate(self.candidates):
            found = {key: value[0] for key, value in self.relations.fetch(correlation_sql(k)).items()}
            fault = None
            if found["text"]:
                fault = f"it holds text in {int(found['text'])} rows"
            elif not found["present"]:
                fault = "it is empty"
            elif np.isinf(found["low"]) or np.isinf(found["high"]):
                fault = "it holds infinite values"
            elif found["low"] == found["high"]:
                fault = f"it has one value ({quoted(format(found['low'], 'g'))})"
            undefined = fault or found["pairs"] < 3 or found["constant"]
            judged.append(Candidate(name, float("nan") if undefined else float(found["r"]), fault))
        if self.asked:
            candidate = judged[0]
            if candidate.fault:
                raise InputError(
                    f"Column {quoted(self.asked)} of table {quoted(self.tab)} cannot serve as covariate, {candidate.fault}: "
                    "choose a column of numbers (option --covariate)."
                )
            audit.note("covariate", f"{quoted(self.asked)} was asked for.")
            return 0, candidate.correlation
        for candidate in judged:
            if candidate.fault:
                audit.note("covariate", f"{quoted(candidate.name)} is no candidate: {candidate.fault}.")
        chosen, reason = chosen_among([c for c in judged if not c.fault])
        audit.note("covariate", reason)
        return (self.candidates.index(chosen.name), chosen.correlation) if chosen else (None, float("nan"))

    def _standardised(self, name: str, value: np.ndarray, treat: np.ndarray, count: np.ndarray) -> np.ndarray | None:
        """(G,) the covariate in sample SDs over persons, exactly rounded sums; None if an arm has fewer than two values."""
        known = ~np.isnan(value)
        for arm, label in ((0, "control"), (1, "treated")):
            if len(np.unique(value[known & (treat == arm)])) < 2:
                self.audit.note(
                    "covariate",
                    f"{quoted(name)} has fewer than two values in the {label} arm, so treat:cov cannot be estimated: "
                    "M_B and M_C are not fitted.",
                    flag=True,
                )
                return None
        missing = int(count[~known].sum())
        if missing:
            who = counted(missing, f"person without {quoted(name)} is", f"persons without {quoted(name)} are")
            self.audit.note("covariate", f"{who} used in M_0 and M_A, not in M_B and M_C.")
        persons = count[known].sum()
        mean = math.fsum(count[known] * value[known]) / persons
        return (value - mean) / math.sqrt(math.fsum(count[known] * (value[known] - mean) ** 2) / (persons - 1))

    def _ones_with_covariate(self, position: dict[int, int]) -> np.ndarray:
        found = self.relations.fetch(COVARIATE_ONES)
        ones = np.zeros((2, len(position)))
        at = (found["treat"].astype(int), np.array([position[int(k)] for k in found["k"]]))
        np.add.at(ones, at, found["ones"].astype(float))
        return ones

    # -- persons ------------------------------------------------------------------------------------------------

    def _ids(self, condition: str) -> tuple[int, str]:
        """How many persons meet a condition, and the first three."""
        number = int(self.relations.fetch(f"SELECT COUNT(*) AS n FROM persons WHERE {condition}")["n"][0])
        first = (
            self.relations.fetch(f"SELECT id FROM persons WHERE {condition} ORDER BY id LIMIT 4")["id"]
            if number
            else []
        )
        return number, listed((str(value) for value in first), 3)

    def _check_persons(self, n_words: int, chosen: int | None) -> None:
        table = f"table {quoted(self.tab)}"
        changing, which = self._ids("treat <> other_treat")
        if changing:
            raise InputError(
                f"Column treat of {table} is not constant within a person for {counted(changing, 'person', 'persons')} (id {which}): "
                "give each person one arm."
            )
        for value, arm in ((0, "control (treat = 0)"), (1, "treated (treat = 1)")):
            if not self._ids(f"treat = {value} AND left6 > 0")[0]:
                raise InputError(
                    f"Table {quoted(self.tab)} has nobody in the {arm} arm with usable responses: give it persons of both arms."
                )
        spelled = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM persons GROUP BY TRIM(CAST(id AS STRING)) HAVING COUNT(*) > 1) AS twice"
        if self.relations.fetch(spelled)["n"][0]:
            raise InputError(
                f"Column id of {table} has names that differ only in the space around them: write each in one way."
            )
        cells = " + ".join(f"CAST(BIT_COUNT(word{word}) AS BIGINT)" for word in range(n_words))
        twice, which = self._ids(f"left6 > {cells}")
        if twice:
            raise InputError(
                f"Table {quoted(self.tab)} has repeated rows of one person and item for {counted(twice, 'person', 'persons')} (id {which}): keep one "
                "row each or choose a wave (--wave); trials are counted only in tables that fit into memory."
            )
        if chosen is not None:
            varying, which = self._ids("covariate <> other_covariate")
            if varying:
                raise InputError(
                    f"{quoted(self.candidates[chosen])} varies within {counted(varying, 'person', 'persons')} of {table} (id {which}): give each "
                    "person one value, the order of rows decides only in tables that fit into memory."
                )

    def _classes(self, n_words: int, n_items: int) -> tuple[np.ndarray, ...]:
        """Arm, score, covariate (NaN if missing), trials and count of groups of like persons."""
        self.relations.keep("classes", classes_sql(n_words))
        size = int(self.relations.fetch("SELECT COUNT(*) AS n FROM classes")["n"][0])
        if size * n_items > MOST_CELLS:
            raise InputError(
                f"Table {quoted(self.tab)} has {size:,} different answer patterns of {n_items} items, too many to fit at once: "
                f"draw at most {MOST_CELLS // n_items:,} persons, or fit without covariate."
            )
        found = self.relations.fetch("SELECT * FROM classes")
        words = [found[f"word{word}"].astype(np.int64) for word in range(n_words)]
        trials = np.empty((size, n_items), np.int64)
        for at in range(n_items):
            trials[:, at] = (words[at // WORD] >> (at % WORD)) & 1
        return (
            found["treat"].astype(np.int64),
            found["score"].astype(np.int64),
            found["covariate"].astype(float),
            trials,
            found["n"].astype(np.int64),
        )

    # -- the audit ----------------------------------------------------------------------------------------------

    def _write_audit(
        self,
        cells: pd.DataFrame,
        in_wave: pd.Series,
        wave: Audit,
        covariate: Audit,
        kinds: dict[int, str],
        item_entries: list[AuditEntry],
        item_flags: list[str],
    ) -> None:
        """The steps of ``prepare`` in their order, with rows, persons and items each removed."""
        audit = self.audit
        gone = ", ".join(
            f"SUM(CASE WHEN left{k} > 0 AND left{k + 1} = 0 THEN 1 ELSE 0 END) AS gone{k}" for k in range(6)
        )
        persons = {k: int(v[0]) for k, v in self.relations.fetch(f"SELECT {gone} FROM persons").items()}
        named = cells[cells["k"].notna()]
        within = named[in_wave[named.index]]
        answered = within[within["resp"].notna()]
        with_arm = answered[answered["treat"].notna()]

        def items(before: pd.DataFrame, after: pd.DataFrame) -> int:
            return before.loc[before["named"] > 0, "k"].nunique() - after.loc[after["named"] > 0, "k"].nunique()

        def removed(step: str, before: pd.DataFrame, after: pd.DataFrame, at: int, reason: str) -> None:
            rows = int(before["named"].sum() - after["named"].sum())
            if rows:
                audit.entries.append(AuditEntry(step, rows, persons[f"gone{at}"], items(before, after), reason))

        no_id, no_item = int((cells["n"] - cells["named"]).sum()), int(cells.loc[cells["k"].isna(), "n"].sum())
        if no_id or no_item:
            reason = (
                f"{counted(no_id, 'row names', 'rows name')} no person and {no_item} no item (empty, or a word for missing such as NA, null, "
                "None or nan): they are left out."
            )
            audit.flags.append(reason)
            lost = int(cells["n"].sum() - named["named"].sum())
            nobody = named["k"].nunique() - named.loc[named["named"] > 0, "k"].nunique()
            audit.entries.append(AuditEntry("identifiers", lost, persons["gone0"], nobody, reason))
        for entry in wave.entries:
            if entry.rows:
                removed(entry.step, named, within, 1, entry.reason)
            else:
                audit.entries.append(entry)
        audit.flags += wave.flags
        audit.entries += covariate.entries
        silent, which = self._ids("left2 > 0 AND left3 = 0")
        reason = "The response is missing." + (
            f" {counted(silent, 'person has', 'persons have')} no response at all (id {which})." if silent else ""
        )
        removed("missing response", within, answered, 2, reason)
        removed("missing arm", answered, with_arm, 3, "The treatment indicator is missing.")
        kind = with_arm["k"].map(kinds)
        varying, binary = with_arm[kind != "constant"], with_arm[kind == "binary"]
        reasons = iter(item_entries)
        for at, (before, after) in ((4, (with_arm, varying)), (5, (varying, binary))):
            if len(before) > len(after):
                removed("items", before, after, at, next(reasons).reason)
        audit.flags += item_flags

    def note_arms_of_items(self, names: list[str], answers: np.ndarray, ones: np.ndarray) -> None:
        # one row for each response that occurs in an item and arm says all that the rule asks
        arm, item, resp = [], [], []
        for value, number in ((0, answers - ones), (1, ones)):
            at = np.nonzero(number > 0)
            arm.append(at[0])
            item.append(at[1])
            resp.append(np.full(len(at[0]), value))
        note_arms_of_items(names, np.concatenate(arm), np.concatenate(item), np.concatenate(resp), self.audit)
