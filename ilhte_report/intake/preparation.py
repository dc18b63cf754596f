"""A table on its way to a fit: in memory, or reduced to sufficient statistics out of core where the file is large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ilhte_lib.data.large import LargeTrial, is_large, large_trial
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial

from .source import Source, load

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("id", "item", "resp", "treat")


def prepared(
    where: Source, columns: Mapping[str, Any], *, covariate: str | None, wave: str | None, **rules: Any
) -> Trial | LargeTrial:
    """The trial in a source, by the rules of ``ilhte_lib.prepare.prepare``.

    Parameters
    ----------
    where : the source.
    columns : the naming options of ``ilhte_lib.read.read_table``.
    covariate, wave, rules : as for ``prepare``.

    A large file is never read into memory, unless something is asked for that only memory gives: the vignette's rules,
    a draw of persons, repeated rows as trials, arms by name, a wide file, clusters.

    Raises
    ------
    InputError : the file cannot be used; one sentence names the reason and the remedy.
    EngineError : the file is large and DuckDB is not installed.
    """
    in_memory = (
        rules["profile"] != "full" or rules["max_persons"] or rules["repeated"] != "error" or rules["cluster"]
        or rules["id_within_cluster"] or columns["control"] or columns["wide"] or columns.get("header_row")
    )  # fmt: skip
    if where.path is not None and not in_memory and is_large(where.path):
        names = {name: columns[name] for name in NAMES}
        return large_trial(
            where.path,
            where.tab,
            covariate=covariate,
            wave=wave,
            wave_column=columns["wave"],
            missing_codes=rules["missing_codes"],
            **names,
        )
    return prepare(load(where, **columns), where.tab, covariate=covariate, wave=wave, **rules)
