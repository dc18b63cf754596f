"""The two trials of the vignette: caffeine and anxiety, item by item, and how long the effect of a film lasts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.approximation import default_method
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.inference.effects import ALPHA, effects
from ilhte_lib.inference.generalise import generalise
from ilhte_lib.inference.interval import HALF_WIDTH, average_by_t
from ilhte_lib.model.spec import MODELS

from ..project import find_project
from ..words.numbers import between, number
from .results import RunResults

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

CAFFEINE = "caffeine_anxiety"
FILMS = {"film_sad_negative": "Sad", "film_horror_negative": "Horror", "film_comedy_negative": "Comedy"}
RATINGS = ("not at all", "a little", "moderately", "very much")
HIGHEST = len(RATINGS) - 1
TIMES = {0: "before", 1: "right after", 2: "half an hour later"}


def tells(run: RunResults) -> bool:
    """Whether the run is of the bundled collection and contains the trials of the vignette."""
    return not run.own and {CAFFEINE, *FILMS} <= set(run.summary["tab"])


@dataclass(frozen=True)
class Untold:
    """Placeholder for runs without the vignette's trials: the page hides the text but still evaluates its inline values."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return ""

    def rating(self, name: str) -> str:
        return ""

    def at(self, tab: str, wave: int) -> str:
        return ""

    def spread(self, tab: str, wave: int) -> str:
        return ""

    def persons(self, tab: str, wave: int) -> str:
        return ""


@dataclass(frozen=True)
class Anxiety:
    """Caffeine against placebo on the twenty items of the anxiety inventory: numbers for the text."""

    run: RunResults

    @cached_property
    def _row(self) -> dict[str, Any]:
        return self.run.row(CAFFEINE)

    @cached_property
    def _inference(self) -> dict[str, Any]:
        return self.run.document(CAFFEINE)["inference"]

    def _told(self, column: str, name: str) -> str:
        """An estimate with the interval quoted on the table's page."""
        return _with_interval(self._row[column], *self.run.told(CAFFEINE, name))

    @cached_property
    def items(self) -> pd.DataFrame:
        """The items from the lowest effect to the highest, with ``label``, the meaning of a high rating; ``control`` and
        ``treated``, mean ratings by arm; ``reversed``; and ``change``, the side of 0 on which the effect's 95% interval lies."""
        table = load_bundled(CAFFEINE, find_project() / "data")
        keyed = table.drop_duplicates("item").set_index("item")["keyed"]
        means = table.pivot_table(values="resp", index="item", columns="treat")
        rows = self.run.items[self.run.items["tab"] == CAFFEINE].sort_values("total_std")
        turned = [keyed[name] == "reversed" for name in rows["item"]]
        words = [f"not {name}" if flip else name for name, flip in zip(rows["item"], turned, strict=True)]
        half = HALF_WIDTH * rows["total_se"]
        change = ["more" if low > 0 else "less" if high < 0 else "unclear" for low, high in zip(
            rows["total_std"] - half, rows["total_std"] + half, strict=True)]  # fmt: skip
        return rows.assign(
            label=[word.replace(".", " ") for word in words],
            control=means.loc[rows["item"], 0].to_numpy(),
            treated=means.loc[rows["item"], 1].to_numpy(),
            reversed=turned,
            change=change,
        )

    @property
    def persons(self) -> str:
        return f"{self._row['n_persons']:,}"

    @property
    def studies(self) -> int:
        return load_bundled(CAFFEINE, find_project() / "data")["cluster"].nunique()

    @property
    def total(self) -> str:
        """The difference of the sum scores, in points."""
        return number(self._inference["sum_score"]["difference"], 1)

    @property
    def points(self) -> int:
        """The highest sum score."""
        return HIGHEST * len(self.items)

    @property
    def total_interval(self) -> str:
        found = self._inference["sum_score"]
        scale = found["sd"]
        low, high = (found["difference"] + sign * HALF_WIDTH * found["smd_se"] * scale for sign in (-1, 1))
        return between(low, high, 1)

    @property
    def average(self) -> str:
        return self._told("ate_std", "average")

    @property
    def spread(self) -> str:
        return number(self._row["sigma_zeta_std"], 2)

    @property
    def rho(self) -> str:
        return number(self._row["rho"], 2)

    @property
    def ratio(self) -> str:
        return number(self._row["sd_ratio"], 2)

    @property
    def beta3_without(self) -> str:
        return self._told("beta3_b", "beta3_b")

    @property
    def beta3_with(self) -> str:
        return self._told("beta3_c", "beta3_c")

    @property
    def beta3_compared(self) -> str:
        """A sentence on the difference of the two that claims no more than the intervals."""
        resampled = self._inference["resampling"]
        difference = self._row["delta_beta3"]
        if resampled is None:
            return f"Their difference is {number(difference, 3)}."
        drawn = resampled["estimates"]["delta_beta3"]
        told = _with_interval(difference, drawn["lower"], drawn["upper"], 3)
        holding_zero = [low <= 0 <= high for low, high in (
            self.run.told(CAFFEINE, "beta3_b"), self.run.told(CAFFEINE, "beta3_c"))]  # fmt: skip
        if all(holding_zero) and not drawn["lower"] <= 0 <= drawn["upper"]:
            return f"Neither is distinguishable from zero, but their difference is: {told}."
        return f"Their difference is {told}."

    @property
    def unequal_steps(self) -> str:
        """The number of trials with ratings in which shared steps are rejected, of all such trials."""
        tests = [self.run.document(tab)["inference"]["steps"] for tab in self.run.trials]
        asked = [test for test in tests if test]
        return f"{sum(test['p'] < ALPHA for test in asked)} of {len(asked)}"

    def count(self, change: str) -> int:
        """Number of items whose 95% interval lies above 0 ("more"), below it ("less") or includes it ("unclear")."""
        return int((self.items["change"] == change).sum())

    @property
    def more(self) -> int:
        return self.count("more")

    @property
    def less(self) -> int:
        return self.count("less")

    @property
    def unclear(self) -> int:
        return self.count("unclear")

    def rating(self, name: str) -> str:
        """The mean rating of a word without and with caffeine; for a reversed item, of the word itself."""
        row = self._of(name)
        means = [HIGHEST - row[arm] if row["reversed"] else row[arm] for arm in ("control", "treated")]
        return " to ".join(number(mean, 2) for mean in means)

    def _of(self, name: str) -> dict[str, Any]:
        (row,) = self.items[self.items["item"] == name].to_dict("records")
        return row

    def figure(self) -> go.Figure:
        from ilhte_lib.figures.answers import answers_figure

        words = {"more": "more anxious", "less": "less anxious", "unclear": "no clear difference"}
        ticks = dict(enumerate(RATINGS))
        return answers_figure(self.items, "placebo", "caffeine", words, "Mean rating", ticks)

    @property
    def alt(self) -> str:
        rows = self.items.iloc[::-1]
        listed = "; ".join(
            f"{row.label} {number(row.control, 2)} to {number(row.treated, 2)}" for row in rows.itertuples()
        )
        found = f"With caffeine {self.more} items rise, {self.less} fall and {self.unclear} show no clear difference."
        return f"{found} Mean ratings, from 0 to {HIGHEST}, under placebo and under caffeine: {listed}."


@dataclass(frozen=True)
class Fading:
    """Films and negative affect before, right after and half an hour later, with a separate fit for each time."""

    run: RunResults

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row per film and time: ``tab``, ``treatment``, ``wave``, ``effect``, ``low``, ``high``, ``spread`` (SDs), ``persons``."""
        import pandas as pd

        rows = []
        for tab, film in FILMS.items():
            table = load_bundled(tab, find_project() / "data")
            for wave in TIMES:
                trial = prepare(table, tab, wave=str(wave))
                fits = fit_models(trial, ["M_0", "M_A"], method=default_method(trial.profile))
                result = effects(trial, fits)
                reach = generalise(statistics_of(trial, MODELS["M_A"]), fits["M_A"]).reach
                average = average_by_t(result, reach)
                rows.append(
                    {
                        "tab": tab,
                        "treatment": f"{film} film" if film != "Comedy" else film,
                        "wave": wave,
                        "effect": average.estimate,
                        "low": average.low,
                        "high": average.high,
                        "spread": result.summary["sigma_zeta_std"],
                        "persons": trial.n_persons,
                    }
                )
        return pd.DataFrame(rows)

    def _at(self, tab: str, wave: int) -> dict[str, Any]:
        (row,) = self.rows[(self.rows["tab"] == tab) & (self.rows["wave"] == wave)].to_dict("records")
        return row

    def at(self, tab: str, wave: int) -> str:
        """The average effect of a film at a time, with its interval."""
        row = self._at(tab, wave)
        return _with_interval(row["effect"], row["low"], row["high"])

    def spread(self, tab: str, wave: int) -> str:
        return number(self._at(tab, wave)["spread"], 2)

    def persons(self, tab: str, wave: int) -> int:
        return self._at(tab, wave)["persons"]

    def figure(self) -> go.Figure:
        from ilhte_lib.figures.waves import waves_figure

        return waves_figure(self.rows, TIMES)

    @property
    def alt(self) -> str:
        told = "; ".join(
            f"{row.treatment} {TIMES[row.wave]} {_with_interval(row.effect, row.low, row.high)}"
            for row in self.rows.itertuples()
        )
        clear = (self.rows["low"] > 0) | (self.rows["high"] < 0)
        counts = [f"{of.sum()} of {len(of)} {TIMES[wave]}" for wave, of in clear.groupby(self.rows["wave"])]
        found = f"Films whose interval excludes 0: {'; '.join(counts)}."
        return f"{found} Average effects on negative affect in SDs of the persons: {told}."


def _with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    return f"{number(value, digits)} [{between(low, high, digits)}]"
