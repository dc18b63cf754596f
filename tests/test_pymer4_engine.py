"""lme4 through pymer4: its numbers against lme4's own, against the native engine, and its failures in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from ilhte_lib import EngineError, Fit, InputError
from ilhte_lib.engine import lme4 as pymer4_engine
from ilhte_lib.engine.lme4 import fit_pymer4
from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics

TABLES = ("bacteria_weeks", "verbagg_gender", "respiratory_visits")


@dataclass(frozen=True)
class SmallTrial:
    """The attributes of a prepared trial that an engine reads."""

    tab: str
    item_names: tuple[str, ...]
    treat: np.ndarray
    person: np.ndarray
    item: np.ndarray
    resp: np.ndarray
    covariate: np.ndarray | None
    rows_known, formats = True, None
    of_clusters = MappingProxyType({"cluster": None, "cluster_effects": False})

    def sufficient_statistics(self, with_covariate: bool) -> SufficientStatistics:
        covariate = self.covariate if with_covariate else None
        return sufficient_statistics(self.item_names, self.treat, self.person, self.item, self.resp, covariate)


def simulated(n_persons: int = 300, n_items: int = 10, *, missing: float = 0.1, seed: int = 20) -> SmallTrial:
    """Known truth: sigma_theta 1, beta_1 .3, sigma_b .8, sigma_zeta .5, rho .4, a covariate that 15 persons lack."""
    rng = np.random.default_rng(seed)
    treat = rng.permutation(np.arange(n_persons) % 2).astype(np.int8)
    covariate = rng.normal(size=n_persons)
    theta = 0.6 * covariate + 0.8 * rng.normal(size=n_persons)
    b, zeta = rng.multivariate_normal([0, 0], [[0.64, 0.16], [0.16, 0.25]], size=n_items).T
    person, item = np.repeat(np.arange(n_persons), n_items), np.tile(np.arange(n_items), n_persons)
    answered = rng.random(len(person)) > missing
    person, item = person[answered], item[answered]
    eta = theta[person] + b[item] + (0.3 + zeta[item]) * treat[person]
    resp = (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(np.int8)
    covariate[rng.choice(n_persons, 15, replace=False)] = np.nan
    names = tuple(f'x{j} ~ "; stop() #' for j in range(n_items))
    return SmallTrial("simulated", names, treat, person, item, resp, covariate)


def prepared(folder: Path, tab: str):
    """A table of the project's or the shared collection, prepared as the vignette does."""
    import pandas as pd

    from ilhte_lib.data.prepare import prepare

    return prepare(pd.read_csv(folder / f"{tab}.csv.gz"), tab, profile="vignette")


# -- against lme4's own numbers -------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.shared
@pytest.mark.parametrize("tab", TABLES)
def test_fits_are_those_of_lme4_called_in_r(lme4, shared, tab):
    trial = prepared(shared / "data/tables", tab)
    reference = json.loads((shared / f"reference/lme4/{tab}.json").read_text())
    for model, golden in reference["models"].items():
        fit = fit_pymer4(trial, model)
        assert fit.loglik == pytest.approx(golden["logLik"], abs=1e-4)
        assert (fit.n_persons, fit.n_items, fit.n_responses) == tuple(
            reference[size] for size in ("n_persons", "n_items", "n_rows")
        )
        assert fit.sigma_theta == pytest.approx(golden["sigma_theta"], abs=1e-3)
        np.testing.assert_allclose(fit.beta, list(golden["beta"].values()), atol=1e-3)
        np.testing.assert_allclose(fit.se, list(golden["se"].values()), rtol=0.01)
        golden_cov = [[row[name] for name in ("(Intercept)", "treat")[: fit.spec.q]] for row in golden["item_cov"]]
        np.testing.assert_allclose(fit.item_cov, golden_cov, atol=1e-3)
        assert fit.singular == golden["singular"]
        for row in golden["items"]:
            effects = [row[name] for name in ("X.Intercept.", "treat")[: fit.spec.q]]
            np.testing.assert_allclose(fit.ranef[trial.item_names.index(row["item"])], effects, atol=2e-3)


@pytest.mark.r
def test_result_is_complete_and_in_the_order_of_the_trial(lme4):
    trial = simulated()
    fit = fit_pymer4(trial, "M_C")
    n_items, k = len(trial.item_names), len(fit.spec.psi_names)
    assert fit.engine == "pymer4" and fit.optimizer == "bobyqa" and fit.evaluations > 20
    assert fit.item_names == trial.item_names
    assert fit.ranef.shape == (n_items, 2) and fit.ranef_vcov.shape == (n_items, 2, 2)
    assert fit.vcov.shape == (k, k) and fit.ranef_jacobian.shape == (n_items, 2, k)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)[:4]), fit.se)
    assert np.linalg.eigvalsh(fit.vcov).min() > 0 and np.isfinite(fit.ranef_jacobian).all()
    kept = np.isfinite(trial.covariate)
    assert fit.n_persons == kept.sum() == len(kept) - 15
    assert fit.n_responses == kept[trial.person].sum()
    assert fit.converged and not fit.messages and fit.gradient_norm < 0.01 and fit.hessian_min_eigenvalue > 0

    order = np.random.default_rng(1).permutation(n_items)
    shuffled = replace(
        trial, item_names=tuple(trial.item_names[j] for j in order), item=np.argsort(order)[trial.item].astype(np.int64)
    )
    again = fit_pymer4(shuffled, "M_C")
    assert again.loglik == pytest.approx(fit.loglik, abs=1e-5)
    np.testing.assert_allclose(again.ranef, fit.ranef[order], atol=1e-3)


@pytest.mark.r
def test_conditional_covariance_and_slopes_are_those_of_the_joint_mode(lme4):
    """postVar and ranef_jacobian against the definition: a dense Hessian, and modes found again at shifted psi."""
    trial = simulated(100, 6, missing=0.2)
    fit = fit_pymer4(trial, "M_A")
    assert not fit.singular
    n_persons, n_items = len(trial.treat), len(trial.item_names)
    treat = trial.treat[trial.person].astype(float)
    fixed = np.column_stack([np.ones_like(treat), treat])
    rows = np.arange(len(treat))

    def item_effects(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Modes (J, 2) at psi and the covariances (J, 2, 2) given psi."""
        beta, sigma, factor = psi[:2], psi[2], np.array([[psi[3], 0.0], [psi[4], psi[5]]])
        random = np.zeros((len(treat), n_persons + 2 * n_items))
        random[rows, trial.person] = sigma
        for column in (0, 1):
            random[rows, n_persons + 2 * trial.item + column] = fixed @ factor[:, column]
        u = np.zeros(random.shape[1])
        for _ in range(50):
            mean = 1 / (1 + np.exp(-(fixed @ beta + random @ u)))
            hessian = (random.T * (mean * (1 - mean))) @ random + np.eye(len(u))
            u += np.linalg.solve(hessian, random.T @ (trial.resp - mean) - u)
        inverse = np.linalg.inv(hessian)[n_persons:, n_persons:]
        blocks = [factor @ inverse[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] @ factor.T for i in range(n_items)]
        return u[n_persons:].reshape(n_items, 2) @ factor.T, np.array(blocks)

    psi = np.concatenate([fit.beta, [fit.sigma_theta], fit.item_factor[np.tril_indices(2)]])
    effects, covariances = item_effects(psi)
    np.testing.assert_allclose(fit.ranef, effects, atol=1e-4)
    np.testing.assert_allclose(fit.ranef_vcov, covariances, rtol=1e-3, atol=1e-6)
    for column, step in enumerate(1e-5 * np.eye(len(psi))):
        slope = (item_effects(psi + step)[0] - item_effects(psi - step)[0]) / 2e-5
        np.testing.assert_allclose(fit.ranef_jacobian[:, :, column], slope, rtol=1e-3, atol=1e-4)


@pytest.mark.r
def test_more_items_than_persons_and_an_item_nobody_answered(lme4):
    """lme4 orders its terms by their number of levels, and knows nothing of an item without rows."""
    trial = simulated(40, 60, seed=5)
    seen = trial.item != 7
    trial = replace(trial, person=trial.person[seen], item=trial.item[seen], resp=trial.resp[seen])
    fit = fit_pymer4(trial, "M_A")
    assert 0.5 < fit.sigma_theta < 1.6 and 0.4 < fit.sigma_b < 1.3
    assert np.array_equal(fit.ranef[7], [0, 0]) and np.allclose(fit.ranef_vcov[7], fit.item_cov)
    total = np.array([trial.resp[trial.item == j].mean() if j != 7 else np.nan for j in range(60)])
    assert np.corrcoef(np.delete(fit.ranef[:, 0] + fit.ranef[:, 1] / 2, 7), np.delete(total, 7))[0, 1] > 0.9


# -- against the native engine, live --------------------------------------------------------------------------------


def standardised(fit: Fit, sigma_theta: float) -> np.ndarray:
    """beta, sigma_zeta and the items' effects in SDs of theta in M_0, and rho."""
    spread = [fit.sigma_zeta / sigma_theta] if fit.spec.item_effects else []
    rho = [fit.rho] if fit.spec.item_effects and not fit.singular else []
    return np.array([*(fit.beta / sigma_theta), *(fit.ranef / sigma_theta).ravel(), *spread, *rho])


@pytest.mark.r
@pytest.mark.parametrize("tab", ["simulated", *TABLES])
def test_native_engine_agrees_and_is_never_lower(lme4, project, tab):
    from ilhte_lib.engine.native import fit_models

    trial = simulated() if tab == "simulated" else prepared(project / "data/tables", tab)
    native, ours = fit_models(trial), fit_models(trial, engine="pymer4")
    assert list(native) == list(ours) and "M_A" in ours
    agreeing = 0
    for model, theirs in ours.items():
        assert theirs.engine == "pymer4" and native[model].engine == "native"
        assert native[model].loglik >= theirs.loglik - 1e-4
        assert native[model].singular == theirs.singular
        if native[model].loglik - theirs.loglik < 0.01:
            agreeing += 1
            np.testing.assert_allclose(
                standardised(native[model], native["M_0"].sigma_theta),
                standardised(theirs, ours["M_0"].sigma_theta),
                atol=0.005,
            )
            np.testing.assert_allclose(native[model].se, theirs.se, rtol=0.01)
            # NaN in the same places; lme4's finite differences are rougher than the native Hessian
            ses = [np.sqrt(np.diag(fit.vcov)) for fit in (native[model], theirs)]
            np.testing.assert_allclose(ses[0], ses[1], rtol=0.03)
            np.testing.assert_allclose(native[model].ranef_vcov, theirs.ranef_vcov, rtol=0.05, atol=1e-3)
    assert agreeing


# -- failures, each one sentence that names the remedy ----------------------------------------------------------------


def one_sentence(message: str, *parts: str) -> bool:
    return "\n" not in message and all(part in message for part in parts)


def in_fresh_python(code: str, *flags: str, **environment: str | None) -> subprocess.CompletedProcess:
    """Run code in a new interpreter; an environment variable given as None is unset."""
    project = Path(__file__).resolve().parents[1]
    variables = {**os.environ, "PYTHONPATH": str(project), **environment}
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        env={name: value for name, value in variables.items() if value is not None},
        cwd=project,
        timeout=900,
        check=False,
    )


FIT_AND_TELL = """
import numpy as np
from types import SimpleNamespace
from ilhte_lib import EngineError
from ilhte_lib.engine.lme4 import fit_pymer4
rng = np.random.default_rng(0)
trial = SimpleNamespace(item_names=("a", "b", "c"), treat=(np.arange(40) % 2).astype(np.int8),
    person=np.repeat(np.arange(40), 3), item=np.tile(np.arange(3), 40),
    resp=rng.integers(0, 2, 120).astype(np.int8), covariate=None,
    of_clusters={"cluster": None}, sufficient_statistics=lambda _: SimpleNamespace(clusters=None))
try:
    print("fitted", fit_pymer4(trial, "M_0").converged)
except EngineError as error:
    print(error)
"""


def test_importing_the_library_loads_no_engine():
    code = "import sys, ilhte_lib, ilhte_lib.engine.lme4, ilhte_lib.engine.r_session; print(*sys.modules)"
    loaded = set(in_fresh_python(code).stdout.split())
    assert "ilhte_lib.engine.lme4" in loaded
    assert not loaded & {"rpy2", "pymer4", "polars", "pandas", "scipy"}


def test_missing_pymer4_is_one_sentence(tmp_path):
    for module in [np.__file__, Path(__file__).resolve().parents[1] / "ilhte_lib/__init__.py"]:
        package = Path(module).parent
        (tmp_path / package.name).symlink_to(package)
        if (bundled := package.with_name(f"{package.name}.libs")).is_dir():
            (tmp_path / bundled.name).symlink_to(bundled)
    # -S leaves every installed package out but the ones linked above
    run = in_fresh_python(FIT_AND_TELL, "-S", PYTHONPATH=str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert one_sentence(run.stdout.strip(), "Python package pymer4", "pip install .[lme4]")


@pytest.mark.r
def test_missing_requirement_of_pymer4_is_one_sentence(lme4):
    run = in_fresh_python("import sys; sys.modules['great_tables'] = None" + FIT_AND_TELL)
    assert (run.returncode, run.stderr) == (0, "")
    assert one_sentence(run.stdout.strip(), "pymer4 could not be loaded", "great_tables", "pip install .[lme4]")


@pytest.mark.r
def test_missing_r_is_one_sentence(lme4, tmp_path):
    run = in_fresh_python(FIT_AND_TELL, PATH=str(tmp_path), R_HOME=None)
    assert (run.returncode, run.stderr) == (0, "")
    assert one_sentence(run.stdout.strip(), "needs R", "make lme4")


@pytest.mark.r
def test_r_that_cannot_be_started_is_one_sentence(lme4, tmp_path):
    run = in_fresh_python(FIT_AND_TELL, R_HOME=str(tmp_path))
    assert (run.returncode, run.stderr) == (0, "")
    assert one_sentence(run.stdout.strip(), "could not be started", "make lme4")


@pytest.mark.r
def test_missing_r_package_is_named(lme4, tmp_path):
    libraries = subprocess.run(
        ["Rscript", "-e", 'cat(.libPaths(), sep = "\\n")'], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for package in (p for library in libraries if library for p in Path(library).iterdir()):
        if package.name != "broom.mixed" and not (tmp_path / package.name).exists():
            (tmp_path / package.name).symlink_to(package)
    run = in_fresh_python(FIT_AND_TELL, R_LIBS_SITE=str(tmp_path), R_LIBS_USER=str(tmp_path))
    assert (run.returncode, run.stderr) == (0, "")
    assert one_sentence(run.stdout.strip(), "R package broom.mixed,", "make lme4")


@pytest.mark.r
def test_a_fit_prints_nothing(lme4):
    run = in_fresh_python(FIT_AND_TELL)
    assert (run.stdout, run.stderr, run.returncode) == ("fitted True\n", "", 0)


@pytest.mark.r
def test_failing_fits_quote_lme4_and_name_the_model(lme4):
    trial = simulated(60, 4)
    alike = replace(trial, resp=np.ones_like(trial.resp))
    with pytest.raises(EngineError, match=r'^lme4 could not fit M_A \("Response is constant"\): .*native engine\.$'):
        fit_pymer4(alike, "M_A")
    one_arm = replace(trial, treat=np.zeros_like(trial.treat))
    with pytest.raises(EngineError, match=r"lme4 dropped treat from M_0 .*check"):
        fit_pymer4(one_arm, "M_0")
    with pytest.raises(InputError, match="M_B needs a covariate"):
        fit_pymer4(replace(trial, covariate=None), "M_B")
    assert fit_pymer4(trial, "M_0").converged


@pytest.mark.r
def test_a_fit_that_lme4_doubts_is_not_converged(lme4):
    trial = simulated(60, 5, seed=1)
    fit = fit_pymer4(replace(trial, covariate=trial.covariate * 1e4), "M_B")
    assert not fit.converged
    assert any("nearly unidentifiable" in message for message in fit.messages)
    assert fit_pymer4(trial, "M_B").converged


@pytest.mark.r
def test_another_optimizer_is_refused(lme4, monkeypatch):
    """What would happen with a pymer4 that drops control=: lme4's default optimiser is in the fitted object."""
    glmer, arguments, read = pymer4_engine._r_side()
    without = {name: value for name, value in arguments.items() if name != "control"}
    monkeypatch.setattr(pymer4_engine, "_r_side", lambda: (glmer, without, read))
    with pytest.raises(EngineError, match=r"lme4 fitted M_0 with .* instead of bobyqa, .*pip install"):
        fit_pymer4(simulated(60, 4), "M_0")


@pytest.mark.r
def test_pymer4s_model_class_still_ignores_control(lme4):
    """The reason the engine calls pymer4's glmer function; when this fails, the class can be used instead."""
    import polars as pl
    from pymer4.models import glmer
    from rpy2.robjects import r

    trial = simulated(40, 3)
    frame = pl.DataFrame({"resp": trial.resp.astype(int), "id": [f"p{p}" for p in trial.person]})
    control = r('lme4::glmerControl(optimizer = "bobyqa")')
    model = glmer("resp ~ 1 + (1|id)", data=frame, family="binomial", control=control)
    model.fit(control=control)
    assert list(r("function(m) m@optinfo$optimizer")(model.r_model)) == ["Nelder_Mead"]


@pytest.mark.r
def test_starting_r_leaves_the_environment_of_later_processes_alone(lme4):
    """R's folders in LD_LIBRARY_PATH made child processes load another Python's libraries."""
    program = (
        "import os, subprocess, sys; before = dict(os.environ); from ilhte_lib.engine.r_session import start_r; start_r(); "
        "assert os.environ.get('LD_LIBRARY_PATH') == before.get('LD_LIBRARY_PATH'); "
        "subprocess.run([sys.executable, '-c', 'import ssl, os; print(os.environ.get(\"LD_LIBRARY_PATH\"))'], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(os.environ.get("LD_LIBRARY_PATH"))
