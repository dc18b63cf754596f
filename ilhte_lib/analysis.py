"""The analysis of one trial: data, fits, effects and inference in one result that can display itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .data.design import prepare_design
from .data.item_file import with_item_covariates
from .data.options import DataOptions
from .data.read import read_table, shaped, source_name
from .data.trial import PreparedTrial
from .engine.approximation import default_method
from .engine.native import fit_models
from .errors import InputError
from .files import plain, sha256_of, versions, write_text
from .inference.arms import Arms, compare_arms
from .inference.effects import Effects, effects
from .inference.infer import Inference, infer, inference_record, with_resampling
from .inference.item_types import ItemTypes, item_types
from .inference.units import Unit
from .inference.waves import Waves, waves
from .inference.weak import fit_messages
from .model.fit_result import Fit
from .progress import Listener, listening, step

if TYPE_CHECKING:
    import pandas as pd
    from great_tables import GT
    from plotly.graph_objects import Figure

    from .data.catalogue import TableInfo
    from .inference.who_benefits import WhoBenefits

PLOTS = ("effects", "items", "profiles", "curves", "form")
INTERVAL_COLUMNS = ("parameter", "estimate", "lower", "upper", "wald_lower", "wald_upper", "level")
"""Columns of ``Analysis.intervals``: ends of the profile-likelihood and Wald intervals, logits (rho without unit)."""
MODEL_COLUMNS = ("model", "term", "estimate", "se")
"""Columns of ``Analysis.models``; a row is a coefficient, a step between ordered categories or an SD of random effects (all in
logits), rho, or loglik."""


@dataclass(frozen=True)
class Analysis:
    """All results for one trial.

    Attributes
    ----------
    trial : the prepared data.
    fits : M_0, M_A and, with a covariate, M_B and M_C, by name.
    effects : standardised estimates, from ``effects.effects``.
    inference : intervals, tests and resampling, from ``infer.infer``.
    method_asked : the method requested, "auto", "laplace" or "aghq"; the one used is ``fits["M_A"].method``.
    lower_is_better : whether a response of 1 is undesirable, as the user stated; affects only wording.
    info : the catalogue's entry of a bundled table, otherwise None.
    input_sha256 : checksum of the file, or None.
    item_types : what covariates of the items explain, from ``item_types.item_types``; None without any.
    waves : results for all waves of the table, from ``waves.waves``; None if there is only one.
    arms : for a table with several arms, their comparison, from ``arms.compare_arms``; otherwise None.
    of_arms : for a table with several arms, the analysis of each by label; everything else here is about the first.
    """

    trial: PreparedTrial = field(repr=False)
    fits: dict[str, Fit] = field(repr=False)
    effects: Effects = field(repr=False)
    inference: Inference = field(repr=False)
    method_asked: str = "laplace"
    lower_is_better: bool = False
    info: TableInfo | None = field(default=None, repr=False)
    input_sha256: str | None = field(default=None, repr=False)
    item_types: ItemTypes | None = field(default=None, repr=False)
    waves: Waves | None = field(default=None, repr=False)
    arms: Arms | None = field(default=None, repr=False)
    of_arms: dict[str, Analysis] = field(default_factory=dict, repr=False)

    @property
    def summary(self) -> pd.DataFrame:
        """One row, with columns ``effects.SUMMARY_COLUMNS``."""
        import pandas as pd

        return pd.DataFrame([self.effects.summary])

    @property
    def items(self) -> pd.DataFrame:
        """One row per item, with columns ``effects.ITEM_COLUMNS``."""
        import pandas as pd

        return pd.DataFrame(self.effects.items)

    @property
    def models(self) -> pd.DataFrame:
        """One row per estimate of a model, with columns ``MODEL_COLUMNS``."""
        import pandas as pd

        rows: list[tuple[str, str, float, float]] = []
        for name, fit in self.fits.items():
            rows += [(name, *row) for row in zip(fit.spec.beta_names, fit.beta, fit.se, strict=True)]
            for at, (term, height) in enumerate(zip(fit.spec.steps, fit.steps, strict=True), len(fit.beta)):
                rows.append((name, term, height, float(np.sqrt(fit.vcov[at, at]))))
            spreads = [("sigma_theta", fit.sigma_theta), ("sigma_b", fit.sigma_b)]
            if fit.clusters is not None:
                spreads.append(("sigma_u", fit.clusters.sigma_u))
            if fit.spec.item_effects:
                spreads += [("sigma_zeta", fit.sigma_zeta), ("rho", fit.rho)]
            rows += [(name, term, value, float("nan")) for term, value in (*spreads, ("loglik", fit.loglik))]
        return pd.DataFrame(rows, columns=list(MODEL_COLUMNS))

    @property
    def intervals(self) -> pd.DataFrame:
        """One row per parameter of M_A, with columns ``INTERVAL_COLUMNS``; profiles that could not be computed are absent."""
        import pandas as pd

        rows = [[getattr(found, name) for name in INTERVAL_COLUMNS] for found in self.inference.intervals.values()]
        return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))

    @property
    def rows(self) -> pd.DataFrame:
        """One row per response as used by the models: id, item, resp, treat and, if there is a covariate, cov (standardised)."""
        from .inference.predict import response_rows, rows_of

        return response_rows(rows_of(self.trial))

    def tidy(self, model: str | None = None, effects: str | Sequence[str] = ("fixed", "ran_pars")) -> pd.DataFrame:
        """One row per parameter as in R's broom.mixed, with columns ``tidy.TIDY_COLUMNS``, in logits.

        Parameters
        ----------
        model : "M_0", "M_A", "M_B" or "M_C"; default all.
        effects : any of "fixed" (coefficients and steps between categories), "ran_pars" (standard deviations and correlation of
            random effects) and "ran_vals" (modes of items, clusters and persons with conditional standard deviations).

        Intervals are those of sentences and tables, and ``conf.method`` names their kind; p-values are by t for the average effect
        and Wald otherwise.
        """
        from .tidy import tidy

        return tidy(self, model, effects)

    def glance(self, model: str | None = None) -> pd.DataFrame:
        """One row per model as in broom.mixed, with columns ``tidy.GLANCE_COLUMNS``.

        As in lme4, ``deviance`` is conditional on the random effects, while -2 ``logLik`` is the marginal deviance.
        """
        from .tidy import glance

        return glance(self, model)

    def augment(self, model: str = "M_A") -> pd.DataFrame:
        """``rows`` of the persons used by the model, with fitted values and residuals as in broom.mixed.

        These are ``.fitted`` (linear predictor, logits), ``.mu`` (probability of a 1, or expected score), ``.fixed`` (fixed part,
        logits) and ``.resid`` (deviance residual).

        Raises
        ------
        InputError : the table was read out of core, or there is no such model.
        """
        from .tidy import augment

        return augment(self, model)

    def predict(self, newdata: pd.DataFrame | None = None, model: str = "M_A", kind: str = "response") -> pd.Series:
        """Predictions for persons and items at the modes of their random effects, like R's ``predict``.

        Parameters
        ----------
        newdata : columns id, item, treat and cov, each optional. An absent or empty id means the average person, an absent or
            empty item the average item. treat (0 or 1) and cov (in SDs of the trial's covariate) default to the person's own,
            and cov otherwise to the mean. Default: the responses of the trial.
        kind : "response", the probability of a 1 (for ratings the expected score), or "link", logits.

        Raises
        ------
        InputError : a person, item or model is unknown, or an arm is missing.
        """
        from .tidy import predict

        return predict(self, newdata, model, kind)

    def table(self, name: str = "estimates") -> GT:
        """A table for a paper as a great_tables object, which can be styled further and saved (needs ``ilhte[papers]``).

        Parameters
        ----------
        name : "estimates", "items" or "models"; "arms" for a table with several arms.

        Raises
        ------
        InputError : there is no such table.
        """
        from ilhte_report.papers.tables import paper_table

        return paper_table(self, name)

    def to_tables(self, folder: str | Path) -> list[Path]:
        """Write every table as .html, .tex, .docx and .csv into a folder; only files that ilhte wrote earlier are replaced.

        Raises
        ------
        InputError : ilhte did not write the folder, or a file that it did not write is in the way.
        """
        from ilhte_report.papers.tables import write_tables

        return write_tables(self, folder)

    def to_figures(self, folder: str | Path, width: float = 85.0) -> list[Path]:
        """Write every figure as .svg, .pdf and .png (300 dpi), with its data as .csv and its description as .txt, into a folder.

        Parameters
        ----------
        width : width of a column, mm.

        Kaleido draws the figures if a browser is installed, otherwise matplotlib (``ilhte[papers]`` has both). Profiles are drawn
        if the table was analysed with ``curves=True``.

        Raises
        ------
        InputError : ilhte did not write the folder, or a file that it did not write is in the way.
        """
        from ilhte_report.papers.figures import write_figures

        return write_figures(self, folder, width)

    @property
    def paragraph(self) -> str:
        """The results as one paragraph of plain text with numbers in APA style, with the same conclusions as on a page.

        For a table with several arms it compares them; each analysis in ``of_arms`` has its own paragraph.
        """
        from ilhte_report.words.paper import results_paragraph

        return results_paragraph(self)

    @property
    def methods(self) -> str:
        """The methods as one paragraph of Markdown, citing keys of the project's references.bib."""
        from ilhte_report.words.paper import methods_paragraph

        return methods_paragraph(self)

    @property
    def formula(self) -> dict[str, str]:
        """Formula of each model in lme4's notation, by name, with the columns of ``rows``."""
        return {name: fit.spec.formula for name, fit in self.fits.items()}

    @property
    def r_code(self) -> str:
        """An R script that fits the same models with lme4 to the rows that ``to_r`` writes, and gives the same numbers."""
        from .r_code import r_code

        return r_code(self)

    def to_r(self, folder: str | Path) -> list[Path]:
        """Write ``r_code`` as models.R, and rows.csv, which it reads, into a folder; only earlier ones are replaced.

        Raises
        ------
        InputError : items have more than two categories, the table was read out of core, or ilhte did not write the folder.
        """
        from .r_code import write_r

        return write_r(self, folder)

    def plot(self, kind: str = "effects", covariate: str | None = None, *, axis: str | None = None) -> Figure:
        """An interactive Plotly figure.

        Parameters
        ----------
        kind : "effects" or "items" (item effects in order, and against easiness), "profiles" (needs ``curves=True``), "curves"
            (characteristic curves), "form" (standard error by number of items), "types" (items grouped by an item covariate),
            "waves" (item effects by wave), "arms" (all arms of a table with several).
        covariate : the item covariate for "types"; default the first.
        axis : title of the axis of item effects; default "Item-specific treatment effect".

        Raises
        ------
        InputError : there is no such figure, or the trial lacks what it shows.
        """
        import pandas as pd

        scale = self.effects.scale
        if kind in ("effects", "items"):
            from .figures.tables import table_figure

            rows = self.effects.items if scale.unit is Unit.SD else self.effects.items_logit
            summary = pd.Series(self.effects.summary | {"ate": self.effects.average})
            return table_figure(pd.DataFrame(rows), summary, scale.unit, axis=axis)
        if kind == "profiles":
            from .figures.profile import profile_figure

            if not self.inference.curves:
                raise InputError("The profile curves were not computed: analyse the table with curves=True.")
            ends = [self.inference.intervals[curve.parameter] for curve in self.inference.curves]
            return profile_figure(self.inference.curves, ends, scale)
        if kind == "curves":
            from .figures.curves import item_curves_figure

            return item_curves_figure(self.fits["M_A"], scale)
        if kind == "form":
            from .figures.more_items import items_figure

            return items_figure(self.inference.statistics, self.fits["M_A"], scale)
        if kind == "types":
            from .figures.item_types import item_types_figure

            found = [
                one for one in (self.item_types.alone if self.item_types else ()) if covariate in (None, one.names[0])
            ]
            if not found:
                raise InputError(
                    "The items have no such covariate: give the table columns itemcov_*, or name a file of item covariates."
                )
            by_name = {item.name: item for item in self.effects.shown_items}
            items = {k: by_name[name] for k, name in enumerate(self.trial.item_names)}
            return item_types_figure(found[0], items, self.effects.average / scale.by, scale)
        if kind == "waves":
            from .figures.item_waves import item_waves_figure

            if self.waves is None:
                raise InputError("The table has only one wave: name a column of waves (--wave-column).")
            return item_waves_figure(self.waves)
        if kind == "arms":
            from .figures.arms import arms_figure

            if self.arms is None:
                raise InputError("The table has two arms: use a table with more, and name its control (--control).")
            return arms_figure(self.arms, [found.effects.shown_items for found in self.of_arms.values()])
        raise InputError(f"There is no figure {kind!r}: use one of {', '.join(PLOTS)}, types, waves and arms.")

    @property
    def who_benefits(self) -> WhoBenefits | None:
        """The treatment-by-covariate interactions and the verdict on them; None without a covariate.

        If clusters were resampled and the models have none, all intervals come from the resampling. Otherwise only that of the
        difference does, which has no other, so that the verdict is that of ``ilhte who-benefits`` and does not depend on a seed.
        """
        from .inference.who_benefits import Estimate, who_benefits

        if "M_C" not in self.fits:
            return None
        drawn = None if self.inference.too_few_clusters else self.inference.resampling
        of_clusters = drawn is not None and drawn.of_clusters and self.inference.clusters is None
        found = who_benefits(self.trial, self.fits, drawn if of_clusters else None)
        if drawn is None or of_clusters:
            return found
        value = found.difference.value
        return replace(found, difference=Estimate(value, *drawn.interval("delta_beta3", value)))

    def report(self, width: int = 100) -> str:
        """The output of ``ilhte fit`` as text, ``width`` columns wide."""
        import io

        from rich.console import Console

        from ilhte_report.pages.sections import sections
        from ilhte_report.terminal import print_sections

        text = io.StringIO()
        console = Console(file=text, width=width, color_system=None, legacy_windows=False)
        print_sections(console, self.trial.tab, sections(self))
        return text.getvalue()

    def html(self) -> str:
        """The report as one HTML page that works offline."""
        from ilhte_report.pages.sections import sections
        from ilhte_report.pages.single import single_page

        return single_page(self.trial.tab, sections(self))

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one HTML file, replacing an existing one."""
        path = Path(path)
        write_text(path, self.html())
        return path

    def document(self) -> dict:
        """All results as plain values: those of the function ``document`` and these, each None where it does not apply:

        - ``item_types`` (``inference.item_types.ItemTypes``, logits): ``alone``, one entry per covariate with ``types`` (label,
          items, effect, se, low, high), ``contrasts`` (delta), sigma_zeta, sigma_zeta_without, share, statistic, p, p_permutation;
          ``together``; ``missing``; ``seed``;
        - ``waves`` (``inference.waves.Waves``, in ``unit``): ``waves``, one entry per wave with average, spread, their intervals,
          p and ``items``; ``differences``; ``missing``; ``seed``;
        - ``arms`` (``inference.arms.Arms``): ``control``, ``correction``, ``rows``, one per arm, and ``documents``, a document like
          this one for each arm; everything else is about the first arm.
        """
        of_design = {
            "item_types": self.item_types and asdict(self.item_types),
            "waves": self.waves and asdict(self.waves),
            "arms": self.arms
            and asdict(self.arms) | {"documents": {arm: found.document() for arm, found in self.of_arms.items()}},
        }
        return document(self.trial, self.fits, self.effects, self.inference, input_sha256=self.input_sha256) | plain(
            of_design
        )

    def __repr__(self) -> str:
        s, trial = self.effects.summary, self.trial
        unit, by = self.effects.scale.unit.plural, self.effects.scale.by
        return (
            f"Analysis({trial.tab!r}: {trial.n_persons} persons, {trial.n_items} items; average effect "
            f"{self.effects.average / by:.2f} {unit}, SD of item effects {self.effects.spread / by:.2f} {unit}, equal effects "
            f"p = {s['lrt_pval_mixture']:.2g})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.items.round(3).to_html(index=False, escape=True)}"


def analyse(
    table: str | Path | pd.DataFrame,
    *,
    tab: str | None = None,
    engine: str = "native",
    method: str | None = None,
    replicates: int = 0,
    seed: int | None = None,
    workers: int | None = 1,
    curves: bool = False,
    discriminations: bool = False,
    surface: bool = False,
    quick: bool = False,
    item_covariates: str | Path | pd.DataFrame | Mapping[str, Any] | None = None,
    **options: Any,
) -> Analysis:
    """Read, prepare, fit and analyse one trial.

    Parameters
    ----------
    table : the path of a file, or a long table with columns id, item, resp, treat (or as named in ``options``).
    tab : its name in results; default the file's, or "table".
    engine : "native" or "pymer4" (lme4 in R).
    method : approximation of the likelihood: "laplace", "aghq" (quadrature over persons) or "auto" (``engine.approximation``);
        default ``engine.approximation.default_method``.
    replicates, seed, workers, curves, discriminations, surface : see ``infer.infer``.
    quick : whether to compute only estimates, standard errors and the test of equal effects; ``inference.left_out`` names the rest.
    item_covariates : see ``item_file.with_item_covariates``; default columns ``itemcov_*``.
    options : data options as on the command line, ``id="student", control="usual", wave="2"`` ... (``DataOptions``).

    Raises
    ------
    InputError : the table cannot be used; one sentence names the column, row or item and the remedy.
    EngineError : a model could not be fitted.
    """
    data = DataOptions.of(options)
    digest = None
    if isinstance(table, (str, Path)):
        path = Path(table)
        long, digest = read_table(path, **data.columns), sha256_of(path)
        tab = tab or source_name(path)
    else:
        long = shaped(table, **data.columns)
    trial = with_item_covariates(prepare_design(long, tab or "table", data), item_covariates)
    return analyse_trial(
        trial, engine=engine, method=method, replicates=replicates, seed=seed, workers=workers, curves=curves,
        discriminations=discriminations, surface=surface, quick=quick, lower_is_better=data.lower_is_better, input_sha256=digest,
    )  # fmt: skip


def analyse_trial(
    trial: PreparedTrial,
    *,
    engine: str = "native",
    method: str | None = None,
    replicates: int = 0,
    seed: int | None = None,
    workers: int | None = 1,
    curves: bool = False,
    discriminations: bool = False,
    surface: bool = False,
    quick: bool = False,
    listener: Listener | None = None,
    **about: Any,
) -> Analysis:
    """Fit and analyse a prepared trial.

    ``listener`` is called with every step (``progress``), ``about`` has further attributes of the ``Analysis``; the others are as in
    ``analyse``.
    """
    if listener is not None:
        with listening(listener):
            return analyse_trial(
                trial, engine=engine, method=method, replicates=replicates, seed=seed, workers=workers, curves=curves,
                discriminations=discriminations, surface=surface, quick=quick, **about,
            )  # fmt: skip
    if trial.arms:
        found = {
            label: analyse_trial(
                of_arm,
                engine=engine,
                method=method,
                replicates=replicates,
                seed=seed,
                workers=workers,
                curves=curves,
                quick=quick,
                **about,
            )
            for label, of_arm in trial.arms
        }
        compared = compare_arms(
            str(trial.control), [(label, a.fits, a.effects, a.inference) for label, a in found.items()]
        )
        return replace(next(iter(found.values())), trial=trial, arms=compared, of_arms=found)
    method = method or default_method(trial.profile, engine)
    fits = fit_models(trial, engine=engine, method=method)
    inference = infer(
        trial, fits, replicates=replicates, seed=seed, workers=workers, curves=curves, discriminations=discriminations,
        surface=surface, quick=quick,
    )  # fmt: skip
    result = with_resampling(effects(trial, fits), inference)
    if not quick:
        if trial.item_covariates:
            step("Item types")
        about["item_types"] = item_types(trial, fits, seed=seed)
        if trial.other_waves:
            step("Other waves")
        about["waves"] = waves(trial, fits, result, inference, replicates=replicates, seed=seed, workers=workers)
    return Analysis(trial, fits, result, inference, method, **about)


def document(
    trial: PreparedTrial,
    fits: dict[str, Fit],
    result: Effects,
    inference: Inference | None = None,
    *,
    input_sha256: str | None = None,
) -> dict:
    """The results for one table as plain Python values, with None for anything undefined.

    Returns
    -------
    A dictionary with these keys:

    - ``tab``, ``summary``, ``items``, ``audit``, ``flags``, ``provenance``;
    - ``unit`` : the unit of sentences and pages, "SD" or, where persons do not differ, "logit";
    - ``items_logit`` : the items in logits where that is the unit, otherwise None;
    - ``categories`` : by item, lowest first, where items have more than two; otherwise None;
    - ``weak`` : as ``weak.Weaknesses``;
    - ``models`` : by name, with loglik, beta and se by coefficient (logits), steps of ordered categories by name (logits),
      sigma_theta (logits), cluster_cov (squared logits, or None), item_cov (squared logits), singular, converged, gradient_norm,
      seconds;
    - ``inference`` : as ``infer.inference_record``, or None. Standard errors from resampling are in the summary too.
    """
    record = None
    if inference is not None:
        result, record = with_resampling(result, inference), inference_record(inference, result)
    return plain(
        {
            "tab": trial.tab,
            "summary": result.summary,
            "items": result.items,
            "items_logit": None if result.scale.unit is Unit.SD else result.items_logit,
            "categories": trial.categories and dict(zip(trial.item_names, trial.categories, strict=True)),
            "audit": trial.audit_rows(),
            "flags": [*trial.flags, *result.flags, *fit_messages(fits, result.weak)],
            "unit": result.scale.unit,
            "weak": {
                **asdict(result.weak),
                **{name: getattr(result.weak, name) for name in ("few_persons", "few_clusters", "extreme_persons")},
            },
            "models": {name: _model(fit) for name, fit in fits.items()},
            "inference": record,
            "provenance": {
                "versions": versions(),
                "profile": trial.profile,
                "engine": fits["M_A"].engine,
                "method": fits["M_A"].method,
                "covariate": trial.covariate_name,
                "covariate_correlation": trial.covariate_correlation,
                "wave": trial.wave,
                **({"clusters": _clusters(trial, fits["M_A"])} if trial.clusters_modelled else {}),
                "input_sha256": input_sha256,
            },
        }
    )


def _clusters(trial: PreparedTrial, fit: Fit) -> dict:
    """The column of clusters, and their term in the models' formulas."""
    return {"column": getattr(trial, "cluster_name", None), "term": fit.spec.formula.rsplit(" + ", 1)[1]}


def _model(fit: Fit) -> dict:
    names = fit.spec.beta_names
    return {
        "formula": fit.spec.formula,
        "loglik": fit.loglik,
        "beta": dict(zip(names, fit.beta, strict=True)),
        "se": dict(zip(names, fit.se, strict=True)),
        "steps": dict(zip(fit.spec.steps, fit.steps, strict=True)),
        "sigma_theta": fit.sigma_theta,
        "cluster_cov": fit.clusters and fit.clusters.factor @ fit.clusters.factor.T,
        "item_cov": fit.item_cov,
        "singular": fit.singular,
        "converged": fit.converged,
        "gradient_norm": fit.gradient_norm,
        "hessian_min_eigenvalue": fit.hessian_min_eigenvalue,
        "n_persons": fit.n_persons,
        "n_responses": fit.n_responses,
        "optimizer": fit.optimizer,
        "evaluations": fit.evaluations,
        "seconds": fit.seconds,
    }
