"""Profile-likelihood intervals and curves that are valid at the boundaries of the parameter space.

The profile deviance of a quantity g(psi) is ``D_p(t) = min { D(psi) : g(psi) = t }``. A 95% interval is the connected set around
the estimate where ``D_p(t) - D_p(estimate)`` stays below the chi2_1 quantile, or t^2 for fixed effects if the model has clusters
(Venzon and Moolgavkar 1988, Applied Statistics 37(1); for mixed models Bates et al. 2015, Journal of Statistical Software 67(1),
section 5.1). Two ends are special (Self and Liang 1987, JASA 82(398)): the lower end for sigma_zeta is exactly 0 if and only if the
mixture test of sigma_zeta = 0 does not reject at the interval's level, and an end for rho is exactly -1 or +1 if the deviance has
not risen to the quantile there.

The item factor is written in polar coordinates, ``l21 = s sin(a)``, ``l22 = s cos(a)``, so that sigma_zeta = s and rho = sin(a) are
coordinates that can be held fixed; the gradient follows from the exact one by the chain rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..engine.laplace import LaplaceDeviance
from ..engine.objective import SEARCH_TOLERANCE, Deviance, Evaluation, ModeNotFound
from ..engine.optimise import Minimum, minimise
from ..engine.quadrature import QuadratureDeviance
from ..engine.starts import rough_curvature
from ..engine.threads import one_blas_thread
from ..errors import EngineError, InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from .delta_method import rho_se, sigma_zeta_se
from .lrt import likelihood_ratio

Result = TypeVar("Result")
LEVEL = 0.95
CROSSING_TOLERANCE = 1e-6
"""An end counts as found when the profile deviance there is this close to the quantile."""
MAX_STEPS = 60
FARTHEST = 100.0
"""An end is searched no farther than this from the estimate (logits), or twenty times the first step: a profile still below the
quantile there is flat, and the likelihood excludes nothing on that side."""
NEAR = 4.0
"""A lower optimum at least this many standard errors away is a different valley, not a better estimate."""
CURVED = 4
"""A constrained fit starts on the curve through this many others."""
CLOSE = 0.2
"""No two of these are closer to each other than this share of their distance from it."""
INTERIOR = 0.05
"""A nuisance standard deviation (logits) starts no closer to 0 than this, where the gradient vanishes by symmetry."""


@dataclass(frozen=True)
class ProfileInterval:
    """An interval for one parameter, logits (rho without unit).

    Attributes
    ----------
    parameter : "treat" (beta_1), another fixed effect, "sigma_theta", "m11" (SD of clusters), "sigma_zeta" or "rho".
    estimate : the maximum-likelihood estimate; NaN for rho where it is undefined (sigma_b or sigma_zeta is 0).
    lower, upper : ends of the profile-likelihood interval; NaN for an end that does not exist, because the deviance never reaches the
        quantile, jumps next to the estimate, or falls below its minimum before it reaches the quantile (this can happen to the
        Laplace approximation with very few items and rare responses, but not to quadrature).
    lower_bounded, upper_bounded : whether the end is the limit of the parameter (0 for a standard deviation, -1 or +1 for rho) rather
        than a crossing of the profile.
    wald_lower, wald_upper : estimate -+ z SE (t SE for a fixed effect if the model has clusters); NaN where the SE is undefined.
    level : nominal coverage.
    cut : rise of the deviance at an end that is a crossing; NaN for the chi2_1 quantile.
    """

    parameter: str
    estimate: float
    lower: float
    upper: float
    lower_bounded: bool
    upper_bounded: bool
    wald_lower: float
    wald_upper: float
    level: float
    cut: float = float("nan")


@dataclass(frozen=True)
class ProfileCurve:
    """The profile deviance of one parameter above its minimum.

    Attributes
    ----------
    parameter : as in ``ProfileInterval``.
    value : (m,) increasing values of the parameter, logits (rho without unit).
    difference : (m,) D_p(value) - D_p(estimate), at least 0 up to rounding.
    """

    parameter: str
    value: np.ndarray
    difference: np.ndarray


@one_blas_thread
def profile_intervals(
    statistics: SufficientStatistics,
    fit: Fit,
    null: Fit | None = None,
    parameters: tuple[str, ...] | None = None,
    *,
    level: float = LEVEL,
) -> dict[str, ProfileInterval]:
    """Profile-likelihood intervals of a fit, under the approximation of the likelihood it used.

    Parameters
    ----------
    statistics : the data of the fit.
    fit : a model fitted to them.
    null : the same model without item effects (M_0 for M_A, M_B for M_C); needed for sigma_zeta and rho.
    parameters : names; default treat, sigma_theta and, with item effects, sigma_zeta and rho.
    level : nominal coverage, between 0 and 1.

    Raises
    ------
    InputError : the model lacks a parameter, the level is outside (0, 1), or ``null`` is missing but needed.
    EngineError : the constrained fits fail.
    """
    if parameters is None:
        parameters = ("treat", "sigma_theta", *(("sigma_zeta", "rho") if fit.spec.item_effects else ()))
    profiler = Profiler(objective(statistics, fit), fit, null)
    return {name: profiler.interval(name, level=level) for name in parameters}


def correlation_cut(n_items: int, level: float = LEVEL) -> float:
    """Largest rise of the deviance within an interval of rho, ``J log(1 + t^2 / (J - 2))``; infinite with two items.

    t is the quantile of Student's distribution with J - 2 degrees of freedom. If every item's easiness and effect were known, the
    cut would be exact for rho = 0, because the likelihood ratio of J pairs is ``-J log(1 - r^2)`` and
    ``t = r sqrt((J - 2) / (1 - r^2))`` (Fisher 1915, Biometrika 10(4)). It is 7.4 with 5 items, 4.4 with 20, and tends to the chi2_1
    quantile, 3.84.
    """
    from scipy.special import stdtrit

    df = n_items - 2
    if df < 1:
        return float("inf")
    return float(n_items * np.log1p(float(stdtrit(df, 0.5 + level / 2.0)) ** 2 / df))


def objective(statistics: SufficientStatistics, fit: Fit) -> LaplaceDeviance | QuadratureDeviance:
    """The deviance that a fit minimises: Laplace (also for lme4), or quadrature with the fit's number of nodes."""
    return (
        QuadratureDeviance(statistics, fit.spec, fit.nodes)
        if fit.method == "aghq"
        else LaplaceDeviance(statistics, fit.spec)
    )


def fixed_effect_quantile(fit: Fit, level: float = LEVEL) -> float:
    """Half width of a fixed effect's interval in standard errors: normal or, if the model has clusters, t.

    The degrees of freedom of t are the number of clusters minus 2, or minus 1 if they hold both arms (``ClusterFit``).
    """
    from scipy.special import ndtri, stdtrit

    if fit.clusters is None:
        return float(ndtri(0.5 + level / 2.0))
    return float(stdtrit(fit.clusters.degrees_of_freedom, 0.5 + level / 2.0))


def wald_interval(fit: Fit, parameter: str, level: float = LEVEL) -> ProfileInterval:
    """The Wald interval of a parameter of M_A without profiling; the profile's ends are NaN."""
    estimate = {
        "treat": fit.coefficient("treat"),
        "sigma_theta": fit.sigma_theta,
        "sigma_zeta": fit.sigma_zeta,
        "rho": fit.rho,
    }[parameter]
    if parameter in ("sigma_zeta", "rho"):
        se = sigma_zeta_se(fit) if parameter == "sigma_zeta" else rho_se(fit)
    else:
        at = fit.spec.psi_names.index(parameter)
        se = float(np.sqrt(fit.vcov[at, at]))
    half = fixed_effect_quantile(fit, level) * se
    nan = float("nan")
    return ProfileInterval(parameter, estimate, nan, nan, False, False, estimate - half, estimate + half, level)


class _Better(Exception):
    """Raised when a constrained fit is below the fit being profiled, which was therefore not the optimum."""

    def __init__(self, psi: np.ndarray):
        self.psi = psi


class _Section:
    """The deviance in coordinates x, one of which is the parameter to hold fixed.

    For fixed effects and sigma_theta, and without item effects, x is psi. For sigma_zeta and rho the last two entries of x are s and
    a.
    """

    def __init__(self, deviance: Deviance, parameter: str):
        self.deviance, self.statistics = deviance, deviance.statistics
        self.polar = parameter in ("sigma_zeta", "rho")
        names = deviance.spec.psi_names
        self.k = len(names)
        self.held = {"sigma_zeta": self.k - 2, "rho": self.k - 1}[parameter] if self.polar else names.index(parameter)
        self.free = np.array([j for j in range(self.k) if j != self.held])

    @property
    def evaluations(self) -> int:
        return self.deviance.evaluations

    def psi(self, x: np.ndarray) -> np.ndarray:
        if not self.polar:
            return x
        return np.array([*x[:-2], x[-2] * np.sin(x[-1]), x[-2] * np.cos(x[-1])])

    def coordinates(self, psi: np.ndarray) -> np.ndarray:
        if not self.polar:
            return psi.copy()
        return np.array([*psi[:-2], np.hypot(psi[-2], psi[-1]), np.arctan2(psi[-2], abs(psi[-1]))])

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        out = np.eye(self.k)
        if self.polar:
            s, a = x[-2:]
            out[-2:, -2:] = [[np.sin(a), s * np.cos(a)], [np.cos(a), -s * np.sin(a)]]
        return out

    def __call__(self, x: np.ndarray) -> Evaluation:
        there = self.deviance(self.psi(x))
        return Evaluation(np.array(x, float), there.deviance, self.jacobian(x).T @ there.gradient)


@dataclass
class _Point:
    """One constrained fit: the held value, D_p and its slope there, the coordinates after a last step, and the curvature."""

    at: float
    deviance: float
    slope: float
    x: np.ndarray
    hessian: np.ndarray


def _apart(points: list[_Point], at: float) -> list[_Point]:
    """The first few of the points, ordered by distance from ``at``, that do not nearly coincide.

    Otherwise errors in their coordinates from rounding and early stopping would be magnified.
    """
    out = [points[0]]
    for point in points[1:]:
        if min(abs(point.at - other.at) for other in out) >= CLOSE * abs(point.at - at):
            out.append(point)
        if len(out) == CURVED:
            break
    return out


def _extrapolated(points: list[_Point], at: float) -> np.ndarray:
    """Coordinates at ``at`` on the polynomial through those of a few points (Lagrange)."""
    x = np.zeros(len(points[0].x))
    for point in points:
        others = [other.at for other in points if other is not point]
        x += np.prod([(at - t) / (point.at - t) for t in others]) * point.x
    return x


class Profiler:
    """Constrained fits along the parameters of one fit, each started from its neighbours.

    Parameters
    ----------
    deviance : the objective that the fit minimises (``LaplaceDeviance`` or another with its interface).
    fit : the fit.
    null : the same model without item effects, fitted to the same data by the same method.
    like : a fit of a similar model, whose standard errors predict the distance of the ends if ``fit`` has none.
    """

    def __init__(self, deviance: Deviance, fit: Fit, null: Fit | None = None, like: Fit | None = None):
        if null is not None and (null.spec.item_effects or null.spec.covariate != fit.spec.covariate):
            raise InputError(f"{null.spec.name} is not {fit.spec.name} without item effects: give that model's fit.")
        self.deviance, self.fit, self.null, self.like = deviance, fit, null, like
        if isinstance(deviance, LaplaceDeviance):
            deviance.tolerance = SEARCH_TOLERANCE
        psi = fit.psi
        # refine the estimate, so that fits from engines that stop a little early can be profiled too
        self._centre(psi)
        self._points: dict[str, list[_Point]] = {}
        self._edge: float | None = None

    def _centre(self, psi: np.ndarray) -> None:
        """Minimise from psi without constraint; this optimum is profiled."""
        here = self.deviance(psi)
        curvature = self._curvature(psi)
        free = np.arange(len(psi))
        best = minimise(self.deviance, self._interior(psi), curvature, free, np.maximum(0.5 * np.abs(psi), 0.3))
        if best.evaluation.deviance < here.deviance - CROSSING_TOLERANCE:
            here = best.evaluation
        self.psi, self.minimum = here.psi.copy(), here.deviance

    def _curvature(self, psi: np.ndarray) -> np.ndarray:
        """(k, k) guess of the Hessian, from the fit's vcov where it is defined and rough elsewhere."""
        curvature = rough_curvature(self.deviance, psi)
        known = np.flatnonzero(~np.isnan(np.diagonal(self.fit.vcov)))
        if len(known):
            block = self.fit.vcov[np.ix_(known, known)]
            curvature[:, known] = curvature[known, :] = 0.0
            curvature[np.ix_(known, known)] = 2.0 * np.linalg.inv(block)
        return curvature

    def _interior(self, psi: np.ndarray) -> np.ndarray:
        """psi with the standard deviations moved off 0, where a search would be trapped."""
        psi, names = psi.copy(), list(self.fit.spec.psi_names)
        for name in ("sigma_theta", "l11", "l22", "m11", "m22"):
            if name in names:
                j = names.index(name)
                psi[j] = np.copysign(max(abs(psi[j]), INTERIOR), psi[j])
        return psi

    # -- constrained fits -----------------------------------------------------------------------------------------

    def _solve(self, parameter: str, at: float) -> _Point:
        """The constrained fit with the parameter's coordinate held fixed at ``at``."""
        section = _Section(self.deviance, parameter)
        points = self._points.setdefault(parameter, [])
        for point in points:
            if point.at == at:
                return point
        if parameter == "sigma_zeta" and at == 0.0:
            point = _Point(0.0, self.null.deviance, 0.0, section.coordinates(self.psi), np.empty((0, 0)))
            points.append(point)
            return point
        x, hessian = self._start(section, points, at)
        longest = np.maximum(0.5 * np.abs(x), 0.3)
        try:
            found = minimise(section, x, hessian, section.free, longest)
            if not found.converged:
                found = self._again(section, at, longest, found)
            if parameter == "rho" and self._crossed(found.evaluation.psi):
                found = self._with_short_steps(section, at)
        except (ModeNotFound, np.linalg.LinAlgError) as failure:
            raise EngineError(f"The profile of {parameter} could not be computed at {at:.4g} ({failure}).") from None
        here = found.evaluation
        free = section.free
        x = here.psi.copy()
        # neighbours start from where the search would have gone on to
        x[free] -= np.linalg.solve(found.hessian[np.ix_(free, free)], here.gradient[free])
        point = _Point(at, here.deviance, float(here.gradient[section.held]), x, found.hessian)
        if parameter == "rho":
            crossed = self._crossed(here.psi)
            if crossed or here.deviance > self._edge_deviance():
                # without item effects every rho is possible, so the profile never exceeds the deviance of that model
                point.deviance, point.slope = self._edge_deviance(), 0.0
            if crossed:
                point.hessian = np.empty((0, 0))  # not a point from which to start a neighbour's search
        if point.deviance < self.minimum - 10 * CROSSING_TOLERANCE:
            if self._near(section.psi(here.psi)):
                raise _Better(section.psi(here.psi))
            return point
        points.append(point)
        return point

    def _near(self, psi: np.ndarray) -> bool:
        """Whether the optimum reached from psi is close to the fit's: no parameter moves by more than ``NEAR`` SEs.

        With few items the Laplace deviance can fall far below that of the estimate where sigma_theta is several times as large, an
        artefact of the approximation; such a valley does not count as the optimum.
        """
        free = np.arange(len(psi))
        found = minimise(self.deviance, psi, self._curvature(self.psi), free, np.maximum(0.5 * np.abs(psi), 0.3))
        scale = np.sqrt(2.0 / np.diagonal(self._curvature(self.psi)))
        return bool(np.abs((np.abs(found.evaluation.psi) - np.abs(self.psi)) / scale).max() < NEAR)

    def _start(self, section: _Section, points: list[_Point], at: float) -> tuple[np.ndarray, np.ndarray]:
        """Nuisance coordinates on a curve through the nearest constrained fits, and the curvature of the nearest."""
        usable = sorted((p for p in points if p.hessian.size), key=lambda p: abs(p.at - at))
        if not usable:
            psi = self._interior(self.psi)
            x = section.coordinates(psi)
            jacobian = section.jacobian(x)
            hessian = jacobian.T @ self._curvature(self.psi) @ jacobian
            hessian[np.diag_indices(section.k)] = np.maximum(np.diagonal(hessian), 1e-2)
            x[section.held] = at
            return x, hessian
        near = _apart(usable, at)
        x = near[0].x + np.clip(_extrapolated(near, at) - near[0].x, -0.3, 0.3)
        if section.polar and section.held == section.k - 2:
            # a = +-pi/2 (|rho| = 1) is stationary by symmetry, so start next to it
            x[-1] = np.clip(x[-1], -np.pi / 2 + 0.1, np.pi / 2 - 0.1)
        elif not section.polar:
            x = self._interior(x)
        x[section.held] = at
        return x, usable[0].hessian

    def _again(self, section: _Section, at: float, longest: np.ndarray, found: Minimum) -> Minimum:
        """For a search that stalled, a second attempt from the estimate with fresh curvature; returns the better of the two."""
        x, hessian = self._start(section, [], at)
        other = minimise(section, x, hessian, section.free, longest)
        return min(found, other, key=lambda m: m.evaluation.deviance)

    def _with_short_steps(self, section: _Section, at: float) -> Minimum:
        """A search from the estimate with steps too short to jump across s = 0 or l11 = 0 to the side of -rho."""
        x, hessian = self._start(section, [], at)
        longest = np.maximum(0.5 * np.abs(x), 0.3)
        longest[-3:-1] = 0.2 * np.abs(x[-3:-1])
        return minimise(section, x, hessian, section.free, longest)

    @staticmethod
    def _crossed(x: np.ndarray) -> bool:
        """Whether s or l11 has passed through 0, so that the search is on the side of -rho."""
        return x[-3] * x[-2] < 0

    def _edge_deviance(self) -> float:
        """The lowest deviance with sigma_zeta = 0 or sigma_b = 0, where the model does not depend on rho."""
        if self._edge is None:
            psi = self.psi.copy()
            psi[-1] = max(np.hypot(psi[-2], psi[-1]), INTERIOR)
            psi[-3:-1] = 0.0
            free = np.array([*range(len(psi) - 3), len(psi) - 1])
            self.deviance(psi)
            curvature = rough_curvature(self.deviance, psi)
            found = minimise(self.deviance, psi, curvature, free, np.maximum(0.5 * np.abs(psi), 0.3))
            self._edge = min(self.null.deviance, found.evaluation.deviance)
        return self._edge

    # -- results --------------------------------------------------------------------------------------------------

    def _check(self, parameter: str) -> None:
        spec = self.fit.spec
        own = ("m11",) if spec.cluster_q == 1 else ()
        allowed = (*spec.beta_names, "sigma_theta", *own, *(("sigma_zeta", "rho") if spec.item_effects else ()))
        if parameter not in allowed:
            raise InputError(f"{spec.name} has no parameter '{parameter}' to profile: use one of {', '.join(allowed)}.")
        if parameter in ("sigma_zeta", "rho") and self.null is None:
            raise InputError(f"The interval of {parameter} needs the fit of {spec.name} without item effects as well.")

    def _estimate(self, parameter: str) -> tuple[float, float]:
        """The estimate on the scale of the held coordinate, and its standard error there (NaN if undefined)."""
        names, fit = list(self.fit.spec.psi_names), self.fit
        if parameter == "sigma_zeta":
            return float(np.hypot(*self.psi[-2:])), sigma_zeta_se(fit)
        if parameter == "rho":
            angle = float(np.arctan2(np.sign(self.psi[-3] or 1.0) * self.psi[-2], abs(self.psi[-1])))
            return angle, rho_se(fit) / max(np.cos(angle), 1e-3)
        j = names.index(parameter)
        value = abs(self.psi[j]) if parameter in ("sigma_theta", "m11") else self.psi[j]
        return float(value), float(np.sqrt(fit.vcov[j, j]))

    def interval(self, parameter: str, *, level: float = LEVEL, few_items: bool = False) -> ProfileInterval:
        """The profile-likelihood interval of one parameter, together with the Wald interval.

        Parameters
        ----------
        parameter, level : the parameter and the nominal coverage.
        few_items : whether to cut the profile of rho at ``correlation_cut``, valid with few items, rather than the chi2_1 quantile.

        Raises
        ------
        InputError, EngineError : see ``profile_intervals``.
        """
        self._check(parameter)
        if not 0 < level < 1:
            raise InputError(f"The level of an interval is {level}: give a number between 0 and 1, such as 0.95.")
        return self._settled(lambda: self._interval(parameter, level, few_items))

    def rise(self, parameter: str, value: float) -> float:
        """Rise of the profile deviance from the estimate to a value of a fixed effect, the likelihood ratio of that value.

        Raises
        ------
        InputError, EngineError : see ``profile_intervals``.
        """
        self._check(parameter)
        return self._settled(lambda: self._solve(parameter, value).deviance - self.minimum)

    def _settled(self, compute: Callable[[], Result]) -> Result:
        """The result, recomputed from every better optimum met on the way."""
        for _ in range(5):
            try:
                return compute()
            except _Better as better:
                self._centre(better.psi)
                self._points.clear()
        raise EngineError(f"The optimum of {self.fit.spec.name} could not be settled while profiling.")

    def _interval(self, parameter: str, level: float, few_items: bool) -> ProfileInterval:
        from scipy.special import chdtri, ndtri

        quantile, z = float(chdtri(1, 1.0 - level)), float(ndtri(0.5 + level / 2.0))
        if parameter == "rho" and few_items:
            quantile = correlation_cut(self.fit.n_items, level)
        if parameter in self.fit.spec.beta_names and self.fit.clusters is not None:
            z = fixed_effect_quantile(self.fit, level)
            quantile = z * z
        centre, se = self._estimate(parameter)
        low, high = self._limits(parameter)
        if parameter == "rho" and self._edge_deviance() - self.minimum <= quantile:
            lower, upper = low, high
        else:
            if parameter == "sigma_zeta" and likelihood_ratio(self.null, self.fit).mixture > 1.0 - level:
                lower = 0.0
            else:
                lower = self._end(parameter, centre, se, -1, low, quantile)
            upper = self._end(parameter, centre, se, +1, high, quantile)
        estimate, wald = self._wald(parameter, centre, z)
        shown = np.sin if parameter == "rho" else float
        return ProfileInterval(
            parameter,
            estimate,
            float(shown(lower)),
            float(shown(upper)),
            lower == low,
            upper == high,
            *wald,
            level,
            quantile,
        )

    @staticmethod
    def _limits(parameter: str) -> tuple[float, float]:
        """Limits of the held coordinate, which is the angle a for rho."""
        if parameter == "rho":
            return -np.pi / 2, np.pi / 2
        return (0.0 if parameter.startswith("sigma_") or parameter == "m11" else -np.inf), np.inf

    def _wald(self, parameter: str, centre: float, z: float) -> tuple[float, tuple[float, float]]:
        fit = self.fit
        if parameter == "rho":
            undefined = self.psi[-3] == 0.0 or np.hypot(*self.psi[-2:]) == 0.0
            estimate, se = (float("nan") if undefined else float(np.sin(centre))), rho_se(fit)
        else:
            estimate, se = centre, self._estimate(parameter)[1]
        return estimate, (estimate - z * se, estimate + z * se)

    def _end(self, parameter: str, centre: float, se: float, side: int, limit: float, quantile: float) -> float:
        """The point on one side where the profile deviance crosses the quantile, or the limit if it does not.

        Newton's method on ``sqrt(D_p - D_min)``, which is nearly linear, within a shrinking bracket. By the envelope theorem the
        constrained fit gives the slope at no cost.
        """
        if centre == limit:
            return limit
        target = np.sqrt(quantile)
        if np.isnan(se) and self.like is not None and parameter == "sigma_zeta":
            se = sigma_zeta_se(self.like)
        guess = (
            target * se if np.isfinite(se) and se > 0 else (0.5 if parameter == "rho" else max(0.3 * abs(centre), 0.2))
        )
        inside, outside = centre, limit if np.isfinite(limit) else np.nan
        outside_known = beyond = False
        at = centre + side * guess
        for _ in range(MAX_STEPS):
            if side * (at - limit) >= 0 and not outside_known:
                at = limit
            if not outside_known and abs(at - centre) > max(FARTHEST, 20.0 * guess):
                return float("nan")
            try:
                point = self._solve(parameter, at)
            except EngineError:
                if outside_known or inside == centre:
                    raise
                return float("nan")  # the profile broke down before it reached the quantile
            rise = point.deviance - self.minimum
            if abs(rise - quantile) < CROSSING_TOLERANCE:
                return at
            another_valley = rise < -10 * CROSSING_TOLERANCE
            if rise < quantile and not another_valley:
                if at == limit:
                    return limit
                inside = at
            else:
                outside, outside_known, beyond = at, True, another_valley
            if outside_known and abs(outside - inside) < 1e-6 * guess:
                # so close to the estimate the profile cannot have risen, so the constrained fits are unreliable
                return float("nan") if beyond or inside == centre else outside
            if another_valley:
                at = 0.5 * (inside + outside)
                continue
            root = np.sqrt(max(rise, 0.0))
            slope = point.slope / (2.0 * root) if root > 0 else 0.0
            step = (target - root) / slope if slope * side > 0 else np.nan
            proposal = at + step
            if outside_known:
                low, high = sorted((inside, outside))
                margin = 0.02 * (high - low)
                if not low < proposal < high:
                    proposal = 0.5 * (low + high)
                elif abs(root - target) > 0.1:
                    proposal = float(np.clip(proposal, low + margin, high - margin))
            else:
                reach = 2.0 * max(abs(at - centre), guess)
                if not np.isfinite(proposal) or abs(proposal - at) > reach or side * (proposal - at) <= 0:
                    proposal = at + side * reach
            at = float(proposal)
        raise EngineError(
            f"No end of the profile interval of {parameter} was found after {MAX_STEPS} constrained fits."
        )

    def curve(self, interval: ProfileInterval, points: int = 41) -> ProfileCurve:
        """The profile deviance over the interval and a quarter of its width beyond each end, for a figure.

        Parameters
        ----------
        interval : the result of ``interval`` for the parameter. On the side of an undefined end the curve goes 1.5 times as far as
            on the other side.
        points : number of values, evenly spaced (in arcsin(rho) for rho).
        """
        self._check(interval.parameter)
        return self._settled(lambda: self._curve(interval, points))

    def _curve(self, interval: ProfileInterval, points: int) -> ProfileCurve:
        name, limits = interval.parameter, self._limits(interval.parameter)
        to_held = np.arcsin if name == "rho" else float
        centre = self._estimate(name)[0]
        low, high = float(to_held(interval.lower)), float(to_held(interval.upper))
        if not (np.isfinite(low) or np.isfinite(high)):
            raise EngineError("Its interval has no ends, so that there is nothing to draw.")
        low = low if np.isfinite(low) else centre - 1.5 * (high - centre)
        high = high if np.isfinite(high) else centre + 1.5 * (centre - low)
        margin = 0.25 * (high - low)
        values = np.linspace(max(low - margin, limits[0]), min(high + margin, limits[1]), points)
        # outwards from the estimate, first on one side, so that every constrained fit starts from a close neighbour
        rises = {}
        for at in sorted(values, key=lambda v: (v < centre, abs(v - centre))):
            rises[at] = self._solve(name, float(at)).deviance - self.minimum
        shown = np.sin(values) if name == "rho" else values
        return ProfileCurve(name, shown, np.array([rises[at] for at in values]))
