"""Preparing a table for a fit: in memory, or reduced to sufficient statistics by a data engine."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ilhte_lib.data.design import prepare_design
from ilhte_lib.data.item_file import with_item_covariates
from ilhte_lib.data.large import LargeTrial, is_large, large_trial
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.trial import Trial
from ilhte_lib.errors import InputError

from .source import Source, load

if TYPE_CHECKING:
    from ilhte_lib.data.relations import Relations

ENGINES = ("duckdb", "spark", "dask")
"""The data engines that count a table without reading it into memory."""
_ONLY_IN_MEMORY = {
    "profile": "profile vignette", "max_persons": "--max-persons", "repeated": "--repeated trials", "id_within_cluster": "--id-within-cluster",
    "cluster_effects": "--cluster-effects", "control": "--control", "pretest_from_wave": "--pretest-from-wave", "contrast": "--contrast",
    "wide": "--wide", "header_row": "--header-row", "sheet": "--sheet",
}  # fmt: skip
"""Options that need the table in memory, by name: the vignette's rules, sampling, repeated rows, named arms, wide files."""


def prepared(
    where: Source, data: DataOptions, engine_data: str | None = None, scheduler: str | None = None
) -> Trial | LargeTrial:
    """The trial in a source, prepared by the rules of ``ilhte_lib.data.prepare``.

    A large file is read into memory only if an option needs this.

    Parameters
    ----------
    engine_data : one of ``ENGINES``, used even for a small table; None for DuckDB if the table is large or an address.
    scheduler : address of Dask or Spark, see ``parts.Dask.at``, ``relations.Spark.at``; None for this machine, or Spark's setting.

    Raises
    ------
    InputError : the table cannot be used; one sentence names the reason and the remedy.
    EngineError : the engine is not installed.
    """
    if goes_out_of_core(where, data, engine_data):
        with _engine(engine_data, scheduler) as relations:
            trial = large_trial(where.path or where.name, where.tab, relations=relations, **data.rules_out_of_core)
        return with_item_covariates(trial, data.item_covariates)
    return with_item_covariates(prepare_design(load(where, data), where.tab, data), data.item_covariates)


def goes_out_of_core(where: Source, data: DataOptions, engine_data: str | None = None) -> bool:
    """Whether a data engine counts the source: because it is large or an address, or because an engine was named.

    Raises
    ------
    InputError : an option needs the table in memory, but it is not to be read into memory.
    """
    changed = data.changed()
    asked = [option for name, option in _ONLY_IN_MEMORY.items() if changed.get(name)]
    if not (engine_data or where.is_address):
        return where.path is not None and not asked and is_large(where.path)
    if asked:
        raise InputError(
            f"{', '.join(asked)} needs the table in memory: leave it out, or fit a file without --engine-data."
        )
    if where.path is None and not where.is_address:
        raise InputError(f"{where.tab} is a bundled table, which is read into memory: leave out --engine-data.")
    return True


def _engine(engine_data: str | None, scheduler: str | None) -> AbstractContextManager[Relations | None]:
    if engine_data == "spark":
        from ilhte_lib.data.relations import Spark

        return Spark.at(scheduler)
    if engine_data == "dask":
        from ilhte_lib.data.parts import Dask

        return Dask.at(scheduler)
    if scheduler is not None:
        raise InputError("DuckDB counts in this process and has no --scheduler: name --engine-data spark or dask.")
    return nullcontext()
