"""Trials too large for memory: the rules of ``prepare`` under profile full, by counting in SQL over a Parquet or CSV file.

There are three scans of the file, each a group-by: the contents of items, arms and waves; the correlation of candidate covariates
with the responses, if there are any; and one row per person, grouped into classes at once. Python handles items and classes, never
responses or persons. Anything that depends on the order of rows (sampling, a covariate that changes within a person) or on several
rows per cell (repeated rows) is refused with a sentence instead of guessed. Ids are compared as they are written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from ..model.compress import SufficientStatistics, classes
from ..model.formats import ItemFormats, StepForm
from ..model.packed import KEPT_CELLS, ROWS_AT_ONCE, PackedTrials
from .clusters import FEWEST_MODELLED, WITHOUT, changing_sentence, cluster_model, refuse_clusters, too_few
from .columns import BLANKS, NO_WIDTH, NUMBER, TRUTH, as_numbers
from .contents import Sought
from .covariate import Candidate, Examples, fault
from .delimited import layout_of
from .file_formats import csv_header, refuse_duplicates
from .identifiers import check_identifiers, item_labels, natural_key, plainest_sql, refuse_two_spellings
from .items import keep_items, note_items_of_one_arm
from .missing_codes import CODES, named_codes, suspected, suspicion, without_codes
from .place import Place, parquet_files, place
from .precision import LONG_NAMES, SINGLE, lost_digits
from .prepare import check_columns, chosen_among, not_the_numbers
from .relations import (
    CELLS,
    COVARIATE_SCORES,
    IN_QUESTION,
    MARKED,
    MARKS,
    MISSING_WORDS,
    NUMBERED_CELLS,
    RAW_CELLS,
    WORD,
    DuckDB,
    Query,
    Relations,
    candidate_sql,
    classes_sql,
    coded_sql,
    correlation_sql,
    extremes_sql,
    named,
    numbered_sql,
    persons_sql,
    persons_who,
    smallest,
    without_sql,
)
from .scores import Scoring, category_names, coded, dichotomised, labels_of, scores
from .trial import Audit, AuditEntry, ClusterModel, OtherWave, Trial
from .waves import keep_wave

if TYPE_CHECKING:
    import pandas as pd

    from ..model.item_types import ItemCovariate

LARGE_ROWS = 5_000_000
"""``ilhte fit`` reads Parquet files with more rows this way."""
LARGE_TEXT = 200_000_000
"""``ilhte fit`` reads CSV files with more bytes this way."""
MOST_VALUES = 1_000_000


@dataclass(frozen=True)
class LargeTrial:
    """A prepared trial as sufficient statistics, which replaces ``trial.Trial`` in ``fit_models``, ``effects`` and ``document``.

    Attributes
    ----------
    tab, profile, covariate_name, covariate_correlation, wave, audit, flags : as in ``trial.Trial``.
    clustered : whether the file has clusters.
    cluster_name, cluster_model : as in ``trial.Trial``, but without cluster effects.
    statistics : sufficient statistics of all persons kept, without covariate.
    with_covariate : those of the persons who have the covariate, with it standardised; None if there is no covariate.
    answers, ones : (2, J) number of responses, and sum of their scores, for each item by arm (control, treated).
    item_covariates : from a separate file (``item_file.with_item_covariates``); columns ``itemcov_*`` are not read.
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
    categories: tuple[tuple[str, ...], ...] | None = None
    cluster_name: str | None = None
    cluster_model: ClusterModel = ClusterModel.NONE
    item_covariates: tuple[ItemCovariate, ...] = ()
    other_waves: tuple[OtherWave, ...] = ()
    arms: tuple[tuple[str, Trial], ...] = ()
    control: str | None = None

    @property
    def item_names(self) -> tuple[str, ...]:
        """J names in natural order."""
        return self.statistics.item_names

    @property
    def formats(self) -> ItemFormats | None:
        """The items' formats; None where all have two categories."""
        return self.statistics.formats

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
    def rows_known(self) -> bool:
        """Never."""
        return False

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters; None where the models leave them out, so that they were not read."""
        return None if self.statistics.clusters is None else self.statistics.clusters.count

    @property
    def clusters_modelled(self) -> bool:
        """Whether the models have random effects of clusters."""
        return self.cluster_model is not ClusterModel.NONE

    def sufficient_statistics(self, with_covariate: bool) -> SufficientStatistics:
        """Those of all persons or, with the covariate, of the persons who have it."""
        return cast("SufficientStatistics", self.with_covariate) if with_covariate else self.statistics

    @property
    def covariate(self) -> np.ndarray | None:
        """(G,) covariate of the classes, or None."""
        return None if self.with_covariate is None else self.with_covariate.covariate

    def item_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(2, J) number of responses, and sum of their scores, for each item by arm."""
        return self.answers, self.ones

    def audit_rows(self) -> list[dict]:
        """The audit as plain dictionaries, for JSON and tables."""
        return [asdict(entry) for entry in self.audit]


def is_large(path: Path) -> bool:
    """Whether a file, or a folder of Parquet files, is so large that it should be read by ``large_trial``."""
    name = path.name.lower()
    if path.is_dir() or name.endswith(".parquet"):
        try:
            import pyarrow.parquet as pq

            files = parquet_files(path) if path.is_dir() else [path]
            return sum(pq.read_metadata(file).num_rows for file in files) > LARGE_ROWS
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
    cluster: str | None = None,
    ignore_clusters: bool = False,
    missing_codes: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    threshold: float | None = None,
    steps: str = StepForm.RATING,
    relations: Relations | None = None,
) -> LargeTrial:
    """Prepare a trial under profile full without reading its responses into Python.

    Parameters
    ----------
    path : a Parquet or CSV file in long format, a folder of Parquet files (partitioned or not), or an address of either, which is
        passed on unchanged.
    tab : its name, for messages and results; default the file's name.
    covariate, wave, missing_codes, categories, threshold, steps : as for ``prepare.prepare``.
    id, item, resp, treat, wave_column : names of the columns in the file; only the column of waves may be absent.
    cluster, ignore_clusters : as for ``prepare.prepare``, except that every person must have a cluster.
    relations : the engine; default DuckDB in this process.

    Raises
    ------
    InputError : the file cannot be used this way; one sentence names the reason and the remedy.
    EngineError : DuckDB is not installed.
    """
    where = place(path)
    tab = tab or where.name.split(".")[0]
    names = {"id": id, "item": item, "resp": resp, "treat": treat, "wave": wave_column}
    codes = named_codes(missing_codes)

    def reduced(by: Relations) -> LargeTrial:
        scoring = Scoring(categories, threshold, StepForm(steps))
        return _Reduction(by, where, tab, names, covariate, codes, scoring, cluster, ignore_clusters).trial(wave)

    if relations is not None:
        return reduced(relations)
    with DuckDB() as own:
        return reduced(own)


class _Reduction:
    """The reduction of one file to sufficient statistics."""

    def __init__(
        self,
        relations: Relations,
        where: Place,
        tab: str,
        names: dict[str, str],
        asked: str | None,
        codes: Sequence[str] | None,
        scoring: Scoring,
        cluster: str | None,
        ignore_clusters: bool,
    ):
        import pandas as pd

        self.relations, self.tab, self.asked, self.codes, self.audit = relations, tab, asked, codes, Audit()
        self.scoring, self.labels = scoring, labels_of(scoring.categories)
        self.where, self.called = where, names
        columns, separator = _header(where, names, relations)
        refuse_duplicates(columns, quoted(where.name))
        roles = {name: role for role, name in names.items()}
        # as in ``read_table``, a column with the standard name of a role that another column has is left out
        at = {roles.get(name, name): k for k, name in enumerate(columns) if name in roles or name not in names}
        check_columns(pd.DataFrame([[0] * len(at)], columns=list(at)), tab, asked, cluster)
        self.named_cluster = cluster is not None
        self.cluster = cluster or ("cluster" if "cluster" in at else None)
        self.cluster_model = cluster_model(self.cluster, False, False, ignore_clusters)
        self.has_wave = "wave" in at
        self.candidates = [asked] if asked else [c for c in at if c == "std_baseline"]
        self.candidates = self.candidates or [c for c in at if c.startswith("cov_")]
        kinds = relations.kinds(where, len(columns))
        words = ", ".join(f"'{word}'" for word in MISSING_WORDS)

        def column(name: str, value: str = "") -> str:
            """SQL for its values, missing where they are blank or, in a CSV file, a word for missing."""
            value, kind = value or f"c{at[name]}", kinds[at[name]]
            if kind == "bytes":
                value = f"DECODE({value})"
            if kind not in ("text", "bytes"):
                return value
            listed_word = "" if not where.is_text else f" OR {value} IN ({words})"
            return f"CASE WHEN TRIM(BOTH {_NOTHING} FROM {value}) = ''{listed_word} THEN NULL ELSE {value} END"

        def number(name: str) -> str:
            """SQL equivalent to ``columns.as_numbers`` and ``missing_codes.without_codes``."""
            value = column(name)
            if kinds[at[name]] in ("text", "bytes"):
                if separator != ",":  # decimal commas
                    comma = relations.matches(value, "[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
                    value = f"CASE WHEN {comma} THEN REPLACE({value}, ',', '.') ELSE {value} END"
                cast = f"TRY_CAST(TRIM(BOTH '{BLANKS}' FROM {value}) AS DOUBLE)"
                beyond = f"CASE WHEN {value} LIKE '%-%' THEN CAST('-inf' AS DOUBLE) ELSE CAST('inf' AS DOUBLE) END"
                truth = " ".join(f"WHEN {value} = '{word}' THEN CAST({n} AS DOUBLE)" for word, n in TRUTH.items())
                number = f"CASE {truth} WHEN {relations.matches(value, NUMBER)} THEN COALESCE({cast}, {beyond}) END"
            else:
                number = f"NULLIF(TRY_CAST({value} AS DOUBLE), CAST('NaN' AS DOUBLE))"
            return f"CASE WHEN {is_code(name, number)} THEN NULL ELSE {number} END" if codes else number

        def is_code(name: str, number: str) -> str:
            values = [float(code) for code in codes or () if as_numbers(pd.Series([code], dtype=object)).notna().all()]
            texts = ", ".join("'" + code.replace("'", "''") + "'" for code in codes or ())
            is_text = f"TRIM(BOTH '{BLANKS}' FROM CAST({column(name)} AS STRING)) IN ({texts})"
            return " OR ".join([is_text, *(f"({number}) = CAST({v!r} AS DOUBLE)" for v in values)])

        def bad(name: str) -> str:
            known = f"{column(name)} IS NOT NULL AND ({number(name)}) IS NULL"
            if codes:
                known += f" AND NOT COALESCE({is_code(name, 'CAST(NULL AS DOUBLE)')}, FALSE)"
            if kinds[at[name]] == "number":
                return "0"
            return f"CASE WHEN {known} THEN 1 ELSE 0 END"

        select = {"id": column("id"), "item": column("item"), "raw_resp": column("resp"), "raw_treat": column("treat")}
        # read as written, because blanks are cheaper to find among the few distinct values than in every row
        read = {"item": column("item", "own_item"), "raw_resp": column("resp", "own_resp")}
        read |= {"raw_treat": column("treat", "own_treat"), "wave": "own_wave"}
        for name in ("item", "resp", "treat"):
            select[f"own_{name}"] = f"c{at[name]}"
        select["own_wave"] = "CAST(NULL AS BIGINT)"
        if self.has_wave:
            select["own_wave"], read["wave"] = f"c{at['wave']}", column("wave", "own_wave")
        self.read_cells = f"SELECT {named(read)}, raw_cells.* FROM raw_cells"
        labels = "NULL" if self.cluster is None or self.cluster_model is ClusterModel.NONE else column(self.cluster)
        select["cluster"] = f"CAST({labels} AS STRING)"
        for k, name in enumerate(self.candidates):
            select |= {f"covariate{k}": number(name), f"bad_covariate{k}": bad(name)}
            select[f"raw_covariate{k}"] = f"CAST({column(name)} AS STRING)"
        relations.open(where, len(columns), select, separator)
        self.kinds = {role: kinds[at[role]] for role in ("id", "item")}

    def trial(self, wave: str | None) -> LargeTrial:
        """All steps, in the order of ``prepare.prepare``."""
        relations = self.relations
        cells = self._cells()
        in_wave, kept_wave, wave_entries = self._wave(cells, wave)
        self._check_numbers(cells[cells["k"].notna() & in_wave])
        # values that occur only in rows without a person are nobody's responses
        said = cells["k"].notna() & (cells["named"] > 0) & cells["resp"].notna() & cells["treat"].notna()
        answered = cells[said & in_wave]
        kinds, values, item_entries, item_flags = self._items(answered)
        order = sorted((k for k, kind in kinds.items() if kind == "kept"), key=lambda k: natural_key(self.names[k]))
        position = {k: at for at, k in enumerate(order)}
        in_order = [values[k] for k in order]
        formats = None
        if any(len(of_item) > 2 for of_item in in_order):
            formats = ItemFormats(np.array([len(of_item) - 1 for of_item in in_order]), StepForm(self.scoring.steps))
        used = answered[answered["k"].map(kinds) == "kept"]
        at = used["k"].map(position).to_numpy(int)
        used = used.assign(at=at, score=scores(at, used["resp"].to_numpy(), in_order))
        pairs = used.drop_duplicates(["k", "r"])
        relations.table("scores", {name: pairs[name].astype(int).tolist() for name in ("k", "r", "score")})
        relations.table(
            "fates",
            {
                "k": list(self.names),
                "kind": [kinds.get(k, "constant") for k in self.names],
                "word": [position[k] // WORD if k in position else -1 for k in self.names],
                "bit": [1 << position[k] % WORD if k in position else 0 for k in self.names],
            },
        )
        relations.keep("marks", MARKS.format(every_wave=int(kept_wave is None)))
        stages = relations.fetch("SELECT DISTINCT stage FROM marks")["stage"].astype(int).tolist()
        relations.view("marked", MARKED)
        covariate_notes = Audit()
        chosen, correlation = self._covariate(covariate_notes)
        n_words = -(-len(order) // WORD)
        relations.keep("persons", persons_sql(n_words, chosen, stages))
        self._check_persons(n_words, chosen)
        self._note_lost_digits("id", "persons", "persons", "id")
        self._note_lost_digits("item", "items", "items", "value")
        self._write_audit(cells, in_wave, wave_entries, covariate_notes, kinds, item_entries, item_flags)

        counted_scores = _counts(used["treat"], used["at"], used["score"], used["named"], formats, len(order))
        answers, ones, at_least = counted_scores
        treat, score, value, trials, count, cluster = self._classes(n_words, len(order))
        item_names = tuple(self.names[k] for k in order)
        statistics = classes(
            item_names, treat, score, trials, None, ones, int(answers.sum()), count, formats, at_least, cluster
        )
        covariate = None if chosen is None else self._standardised(self.candidates[chosen], value, treat, count)
        note_items_of_one_arm([self.names[k] for k in order], answers, self.audit)
        with_covariate = None
        if covariate is not None:
            known = ~np.isnan(covariate)
            _, totals, reached = counted_scores if known.all() else self._scores_with_covariate(position, formats)
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
                formats,
                reached,
                None if cluster is None else cluster[known],
            )
        return LargeTrial(
            tab=self.tab,
            statistics=statistics,
            with_covariate=with_covariate,
            answers=answers,
            ones=ones,
            covariate_name=None if covariate is None or chosen is None else self.candidates[chosen],
            covariate_correlation=float("nan") if covariate is None else correlation,
            wave=kept_wave,
            audit=tuple(self.audit.entries),
            flags=tuple(self.audit.flags),
            clustered=self.cluster is not None,
            cluster_name=self.cluster,
            cluster_model=self.cluster_model,
            categories=None if formats is None else category_names(in_order, self.labels),
        )

    # -- the first scan -----------------------------------------------------------------------------------------

    def _cells(self) -> pd.DataFrame:
        """Counts by item (k), response, arm and wave (w); ``names`` are the items' by k."""
        import pandas as pd

        relations = self.relations
        relations.keep("raw_cells", RAW_CELLS)
        relations.keep("read_cells", self.read_cells)
        relations.keep("cells", CELLS)
        size = int(relations.fetch("SELECT COUNT(*) AS n FROM cells")["n"][0])
        if size > MOST_VALUES:
            raise InputError(
                f"Table {quoted(self.tab)} has {size:,} combinations of item, response, arm and wave, too many for "
                "responses: check which columns are item and resp."
            )
        if size == 0:
            raise InputError(
                f"Table {quoted(self.tab)} has a header but no rows: check that the file was written completely."
            )
        for name, column in (("items", "item"), ("waves", "wave"), ("resps", "raw_resp"), ("treats", "raw_treat")):
            relations.keep(name, numbered_sql(column))
        cells = pd.DataFrame(relations.fetch(NUMBERED_CELLS)).astype({"n": int, "named": int})
        items = relations.fetch("SELECT k, value FROM items ORDER BY k")
        called = np.isin(items["k"], cells.loc[cells["named"] > 0, "k"])
        labels = check_identifiers(pd.Series(items["value"])[called], "item", self.tab)
        if labels.dtype == float and (labels % 1 == 0).all():
            labels = labels.astype("int64")
        self.names = dict(zip(items["k"][called].tolist(), item_labels(labels.tolist(), self.tab), strict=True))
        for role, at in (("resp", "r"), ("treat", "t")):
            cells = cells.join(self._numbers(role), on=at)
            cells[f"bad_{role}"] = cells[f"bad_{role}"].fillna(False).astype(bool)
        return cells

    def _numbers(self, role: str) -> pd.DataFrame:
        """The distinct values of resp or treat as numbers, and whether each is not a number, by index."""
        import pandas as pd

        found = self.relations.fetch(f"SELECT k, value FROM {role}s ORDER BY k")
        values = pd.Series(found["value"], index=found["k"].astype(int))
        if values.dtype.kind in "iub":
            values = values.astype("int64")
        kept = without_codes(values, self.codes or ())
        if role == "resp":
            kept = coded(kept, self.tab, self.scoring.categories)
        numbers = as_numbers(kept)
        bad = (numbers.isna() & kept.notna()) | np.isinf(numbers)
        if role == "resp":
            numbers = dichotomised(numbers, self.scoring.threshold)
        if role == "treat":
            bad |= numbers.notna() & ~numbers.isin((0.0, 1.0))
        self.relations.table(f"{role}_numbers", {"k": [-1, *values.index], "number": [None, *_plain(numbers)]})
        return pd.DataFrame({role: numbers, f"bad_{role}": bad})

    def _wave(self, cells: pd.DataFrame, asked: str | None) -> tuple[pd.Series, str | None, Audit]:
        """Which cells belong to the wave kept, the wave's name (None for all), and the audit."""
        import pandas as pd

        said = Audit()
        everywhere = pd.Series(True, index=cells.index)
        if not self.has_wave:
            keep_wave(pd.DataFrame({"id": [0], "item": [0]}), self.tab, False, asked, said)
            self.relations.table("kept_waves", {"w": [0]})
            return everywhere, None, said
        waves = self.relations.fetch("SELECT k, value FROM waves ORDER BY k")
        present = pd.DataFrame({"w": waves["k"], "wave": waves["value"]})
        if cells["w"].isna().any():
            present = pd.concat([present, pd.DataFrame({"w": [-1], "wave": [None]})], ignore_index=True)
        present = present.assign(id=range(len(present)), item=range(len(present)))
        kept, label = keep_wave(present, self.tab, False, asked, said)
        numbers = kept["w"].astype(int).tolist()
        self.relations.table("kept_waves", {"w": numbers})
        return (everywhere if label is None else cells["w"].isin(numbers)), label, said

    def _check_numbers(self, cells: pd.DataFrame) -> None:
        import pandas as pd

        for role, at in (("resp", "r"), ("treat", "t")):
            wrong = cells[cells[f"bad_{role}"] & (cells["named"] > 0)]
            if wrong.empty:
                continue
            keys = ", ".join(str(int(key)) for key in wrong[at].unique()[:1000])
            shown = self.relations.fetch(
                f"SELECT CAST(value AS STRING) AS value FROM {role}s WHERE k IN ({keys}) ORDER BY k LIMIT 4"
            )
            which, group = ("id, item", "") if role == "resp" else ("id, MIN(item) AS item", "GROUP BY id")
            order = "ORDER BY id, item LIMIT 4"
            query = Query(
                f"SELECT {which} FROM responses JOIN {role}s ON responses.raw_{role} = {role}s.value "
                f"WHERE {role}s.k IN ({keys}) AND id IS NOT NULL {group} {order}",
                f"SELECT {which} FROM parts {group} {order}",
            )
            rows = self.relations.fetch(query)
            raise not_the_numbers(
                role, self.tab, int(wrong["named"].sum()), map(str, shown["value"]), pd.DataFrame(rows)
            )

    def _items(
        self, answered: pd.DataFrame
    ) -> tuple[dict[int, str], dict[int, tuple[float, ...]], list[AuditEntry], list[str]]:
        """For each item with responses "constant", "kept" or "left out"; the categories of those kept; audit entries and flags."""
        import pandas as pd

        said = Audit()
        pairs = answered[["k", "resp"]].drop_duplicates().sort_values(["k", "resp"])
        table = pd.DataFrame(
            {"id": 0, "item": [self.names[int(k)] for k in pairs["k"]], "resp": pairs["resp"].to_numpy()}
        )
        table.attrs["value_labels"] = {"resp": self.labels}
        number = {self.names[int(k)]: int(k) for k in pairs["k"]}
        _, kept = keep_items(table, self.tab, self.codes is not None, said)
        values = {number[item]: of_item for item, of_item in kept.items()}
        several = pairs.groupby("k")["resp"].nunique()
        kinds = {
            int(k): "kept" if int(k) in values else "constant" if n == 1 else "left out" for k, n in several.items()
        }
        return kinds, values, said.entries, said.flags

    # -- the covariate ------------------------------------------------------------------------------------------

    def _covariate(self, audit: Audit) -> tuple[int | None, float]:
        """Index of the covariate among the candidates, and its correlation with the responses of the control arm."""
        dropped = {k: self._suspects(k, audit) for k in range(len(self.candidates))}
        self.relations.view("seen", without_sql(dropped))
        judged = [self._judged(k, name) for k, name in enumerate(self.candidates)]
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
                audit.note("covariate", f"{quoted(candidate.name)} is not a candidate: {candidate.fault}.")
        chosen, reason = chosen_among([c for c in judged if not c.fault])
        audit.note("covariate", reason)
        return (self.candidates.index(chosen.name), chosen.correlation) if chosen else (None, float("nan"))

    def _suspects(self, k: int, audit: Audit) -> tuple[float, ...]:
        """Values of a candidate that must be codes for missing."""
        if self.codes is not None:
            return ()
        found = {key: value[0] for key, value in self.relations.fetch(extremes_sql(k, CODES)).items()}
        if not found["coded"] or np.isnan(found["coded"]):
            return ()
        coded = self.relations.fetch(coded_sql(k, CODES))
        counts = dict(zip(coded["code"].astype(float).tolist(), coded["persons"].astype(int).tolist(), strict=True))
        codes = suspected(_float(found["low"]), _float(found["high"]), counts)
        if codes:
            audit.note("covariate", suspicion(self.candidates[k], codes), flag=True)
        return codes

    def _judged(self, k: int, name: str) -> Candidate:
        found = {key: _float(value[0]) for key, value in self.relations.fetch(candidate_sql(k)).items()}
        bad = {"text": f"bad_covariate{k} = 1", "infinite": f"ABS(x{k}) > 1.7976931348623157e308"}
        examples = {what: self._examples(k, found[what], condition) for what, condition in bad.items()}
        reason = fault(examples["text"], examples["infinite"], found["low"], found["high"])
        if reason:
            return Candidate(name, float("nan"), reason)
        pairs = {key: value[0] for key, value in self.relations.fetch(correlation_sql(k, found["centre"])).items()}
        undefined = pairs["pairs"] < 3 or pairs["constant"]
        return Candidate(name, float("nan") if undefined else float(pairs["r"]), None)

    def _examples(self, k: int, n_rows: float, condition: str) -> Examples:
        if not n_rows > 0:
            return Examples(0)
        where = f"FROM seen WHERE {IN_QUESTION} AND {condition}"
        values = self.relations.fetch(smallest(f"SELECT DISTINCT raw_covariate{k} AS value {where}", "value", "value"))
        persons = self.relations.fetch(smallest(f"SELECT DISTINCT id {where}", "id", "id"))
        return Examples(int(n_rows), tuple(map(str, values["value"])), tuple(map(str, persons["id"])))

    def _standardised(self, name: str, value: np.ndarray, treat: np.ndarray, count: np.ndarray) -> np.ndarray | None:
        """(G,) the covariate standardised over persons with exactly rounded sums; None if an arm has fewer than two values."""
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

    def _scores_with_covariate(
        self, position: dict[int, int], formats: ItemFormats | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        found = self.relations.fetch(COVARIATE_SCORES)
        at = np.array([position[int(k)] for k in found["k"]])
        return _counts(found["treat"], at, found["points"], found["n"], formats, len(position))

    # -- persons ------------------------------------------------------------------------------------------------

    def _ids(self, condition: str) -> tuple[int, str]:
        """The number of persons who meet a condition, and the first three of them."""
        count, those = persons_who(condition)
        number = int(self.relations.fetch(count)["n"][0])
        first = list(self.relations.fetch(those)["id"]) if number else []
        return number, listed((str(value) for value in first), 3)

    def _note_lost_digits(self, role: str, what: str, relation: str, column: str) -> None:
        """Flag names that the file cannot have kept distinct, judging by the first hundred of each kind."""
        import pandas as pd

        if self.kinds[role] in ("text", "bytes"):
            conditions = [self.relations.matches(column, pattern) for pattern in LONG_NAMES]
            order = f"{column} LIKE '%0', name"  # a single name that does not end in 0 shows that digits were kept
        elif self.kinds[role] == "number":
            conditions = [f"ABS({column}) >= {SINGLE} AND ABS({column}) < CAST('inf' AS DOUBLE)"]
            order = "name"
        else:
            return
        for condition in conditions:
            query = Query(
                f"SELECT {column} AS name, TYPEOF({column}) AS kind FROM {relation} WHERE {condition} ORDER BY {order} LIMIT 100",
                f"SELECT * FROM parts ORDER BY {order.replace(f'{column} ', 'name ')} LIMIT 100",
            )
            found = self.relations.fetch(query)
            names = pd.Series(found["name"], name=self.called[role])
            is_single = "".join(found["kind"][:1]).upper() == "FLOAT"
            lost = lost_digits(names, what, quoted(self.where.name), single=is_single, is_excel=False)
            if lost:
                self.audit.flags.append(lost)
                return

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
                    f"Table {quoted(self.tab)} has nobody in the {arm} arm with usable responses: include persons of both arms."
                )
        if self.kinds["id"] in ("text", "bytes"):
            plain = plainest_sql("id", self.relations.matches, self.relations.composed)
            # different spellings of an id are in the same part, since persons are partitioned by this expression
            spelled = f"SELECT MIN(id) AS one, MAX(id) AS other FROM persons WHERE left1 > 0 GROUP BY {plain} HAVING COUNT(*) > 1"
            pairs = self.relations.fetch(smallest(spelled, "one, other", "one"))
            refuse_two_spellings(list(zip(pairs["one"], pairs["other"], strict=True)), "id", self.tab)
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

    def _classes(
        self, n_words: int, n_items: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | PackedTrials, np.ndarray, np.ndarray | None]:
        """Arm, score, covariate (NaN if missing), trials, count and cluster (None without) of groups of identical persons."""
        clustered = self.cluster is not None and self.cluster_model is not ClusterModel.NONE
        self.relations.keep("classes", classes_sql(n_words, clustered))
        found = self.relations.fetch("SELECT * FROM classes")
        words = [found[f"word{word}"].astype(np.int64) for word in range(n_words)]
        size = len(found["n"])
        trials: np.ndarray | PackedTrials
        if size * n_items <= KEPT_CELLS:
            trials = np.column_stack([_bit(words, at, slice(None)) for at in range(n_items)])
        else:
            bits = np.empty((size, -(-n_items // 8)), np.uint8)
            for start in range(0, size, ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                # lowest bit first, as in the integers
                low = [word[rows].astype("<i8").view(np.uint8).reshape(-1, 8) for word in words]
                answered = [np.unpackbits(of_word, axis=1, count=WORD, bitorder="little") for of_word in low]
                bits[rows] = np.packbits(np.concatenate(answered, axis=1)[:, :n_items], axis=1)
            trials = PackedTrials(bits, n_items)
        return (
            found["treat"].astype(np.int64),
            found["score"].astype(np.int64),
            found["covariate"].astype(float),
            trials,
            found["n"].astype(np.int64),
            self._clusters(found),
        )

    def _clusters(self, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """An integer code for the cluster of each group of identical persons; None if the models leave clusters out.

        Raises
        ------
        InputError : clusters cannot be distinguished from persons or arms, or a person has no cluster or several.
        """
        if self.cluster is None or self.cluster_model is ClusterModel.NONE:
            return None
        changing, which = self._ids("cluster <> other_cluster AND left6 > 0")
        if changing:
            raise InputError(changing_sentence(changing, which, self.cluster))
        named = np.array([label is not None for label in found["cluster"]])
        labels, codes = np.unique(np.where(named, found["cluster"], "").astype(str), return_inverse=True)
        count = len(set(labels) - {""})
        if not self.named_cluster and count < FEWEST_MODELLED:
            self.cluster_model = ClusterModel.NONE
            self.audit.note("clusters", too_few(count))
            return None
        lacking, which = self._ids("cluster IS NULL AND left6 > 0")
        if lacking:
            who = counted(lacking, "person has", "persons have")
            raise InputError(
                f"{who} no {quoted(self.cluster)} (id {which}): leave their rows out of the file, which is too large to do that here, {WITHOUT}."
            )
        refuse_clusters(self.cluster, self.cluster_model, codes, found["treat"], int(found["n"].sum()))
        return codes

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
        """Write the steps of ``prepare`` in order, with the numbers of rows, persons and items that each removed."""
        audit = self.audit
        gone = ", ".join(
            f"CAST(SUM(CASE WHEN left{k} > 0 AND left{k + 1} = 0 THEN 1 ELSE 0 END) AS BIGINT) AS gone{k}"
            for k in range(6)
        )
        sums = ", ".join(f"CAST(SUM(gone{k}) AS BIGINT) AS gone{k}" for k in range(6))
        query = Query(f"SELECT {gone} FROM persons", f"SELECT {sums} FROM parts")
        persons = {k: int(v[0]) for k, v in self.relations.fetch(query).items()}
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
        audit.flags += covariate.flags
        silent, which = self._ids("left2 > 0 AND left3 = 0")
        reason = "The response is missing." + (
            f" {counted(silent, 'person has', 'persons have')} no response at all (id {which})." if silent else ""
        )
        removed("missing response", within, answered, 2, reason)
        removed("missing arm", answered, with_arm, 3, "The treatment indicator is missing.")
        kind = with_arm["k"].map(kinds)
        varying, kept = with_arm[kind != "constant"], with_arm[kind == "kept"]
        reasons = iter(item_entries)
        for at, (before, after) in ((4, (with_arm, varying)), (5, (varying, kept))):
            if len(before) > len(after):
                removed("items", before, after, at, next(reasons).reason)
        audit.entries += reasons
        audit.flags += item_flags


def _counts(
    treat: Any, item: Any, score: Any, n: Any, formats: ItemFormats | None, n_items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(2, J) responses and sums of scores by arm, and (J, K) responses at or above each score, from numbers of responses."""
    treat, item, score, n = (np.asarray(x).astype(int) for x in (treat, item, score, n))
    answers, total = np.zeros((2, 2, n_items))
    np.add.at(answers, (treat, item), n)
    np.add.at(total, (treat, item), n * score)
    if formats is None:
        return answers, total, None
    at_least = np.zeros((n_items, formats.most))
    for m in range(1, formats.most + 1):
        np.add.at(at_least[:, m - 1], item, n * (score >= m))
    return answers, total, at_least


def _bit(words: Sequence[np.ndarray], item: int, rows: slice) -> np.ndarray:
    """1 where the item was answered, otherwise 0."""
    return (words[item // WORD][rows] >> (item % WORD)) & 1


_NOTHING = f"CONCAT('{BLANKS}{NO_WIDTH[1:]}', CHR(0))"
"""The characters of blank text in SQL, whose texts cannot hold a NUL."""


def _header(where: Place, names: dict[str, str], relations: Relations) -> tuple[list[str], str]:
    """Names of a table's columns as written, and the separator of a text file."""
    if where.is_remote or where.is_folder:
        return relations.names(where), ","
    path = Path(where.address)
    if where.is_text:
        layout = layout_of(path, Sought(names={}, needed=tuple(names.values())[:4]), ",", quoted(where.name))
        if layout.skipped:
            raise InputError(
                f"{quoted(where.name)} has rows above or below its header that are not data: remove them, because a file this large is read "
                "as it stands."
            )
        return csv_header(path, layout.separator), layout.separator
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_schema(path).names, ","
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{quoted(path.name)} is a damaged or cut-off Parquet file: copy or download it again."
        ) from error


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _plain(numbers: pd.Series) -> list[float | None]:
    return [None if np.isnan(number) else float(number) for number in numbers]
