"""A table on its way to a fit: in memory, or reduced to sufficient statistics out of core where the file is large."""

from __future__ import annotations

from ilhte_lib.data.design import prepare_design
from ilhte_lib.data.item_file import with_item_covariates
from ilhte_lib.data.large import LargeTrial, is_large, large_trial
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.trial import Trial

from .source import Source, load


def prepared(where: Source, data: DataOptions) -> Trial | LargeTrial:
    """The trial in a source, by the rules of ``ilhte_lib.data.prepare``.

    A large file is never read into memory, unless something is asked for that only memory gives: the vignette's rules,
    a draw of persons, repeated rows as trials, arms by name, a wide file, clusters.

    Raises
    ------
    InputError : the file cannot be used; one sentence names the reason and the remedy.
    EngineError : the file is large and DuckDB is not installed.
    """
    if goes_out_of_core(where, data):
        trial = large_trial(where.path, where.tab, **data.rules_out_of_core)
    else:
        trial = prepare_design(load(where, data), where.tab, data)
    return with_item_covariates(trial, data.item_covariates)


def goes_out_of_core(where: Source, data: DataOptions) -> bool:
    """Whether the source is a large file and nothing is asked for that only memory gives."""
    in_memory = (
        data.profile != "full" or data.max_persons or data.repeated != "error" or data.id_within_cluster or data.cluster_effects
        or data.control or data.pretest_from_wave or data.contrast or data.wide or data.header_row or data.sheet
    )  # fmt: skip
    return where.path is not None and not in_memory and is_large(where.path)
