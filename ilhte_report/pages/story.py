"""The two trials that the vignette tells: caffeine and anxiety item by item, and how long the effect of a film lasts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.approximation import default_method
from ilhte_lib.engine.native import fit_models
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.interval import HALF_WIDTH

from ..project import find_project, latest_run, slug
from ..words.numbers import between, number
from .results import RunResults

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

CAFFEINE = "caffeine_anxiety"
FILMS = {"film_sad_negative": "Sad", "film_horror_negative": "Horror", "film_comedy_negative": "Comedy"}
TIMES = {0: "before", 1: "right after", 2: "half an hour later"}


def tells(run: RunResults) -> bool:
    """Whether the run is of the bundled collection, with the trials of the story in it."""
    return not run.own and {CAFFEINE, *FILMS} <= set(run.summary["tab"])


@dataclass(frozen=True)
class Untold:
    """Stands for a story in a run that has none: the page hides the text, but its values are still asked for."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return ""

    def item(self, name: str) -> str:
        return ""

    def share(self, name: str) -> str:
        return ""

    def at(self, tab: str, wave: int) -> str:
        return ""

    def spread(self, tab: str, wave: int) -> str:
        return ""

    def persons(self, tab: str, wave: int) -> str:
        return ""


@dataclass(frozen=True)
class Anxiety:
    """Caffeine against placebo, by the twenty items of the anxiety inventory: numbers as the text quotes them."""

    run: RunResults

    @cached_property
    def _row(self) -> dict[str, Any]:
        return self.run.row(CAFFEINE)

    @cached_property
    def _document(self) -> dict[str, Any]:
        path = latest_run(find_project()) / "fits" / f"{slug(CAFFEINE)}.json"
        return json.loads(Path(path).read_text(encoding="utf-8"))

    @cached_property
    def items(self) -> pd.DataFrame:
        """The items with ``label``, what an anxious answer to it says, and ``change``, from the lowest effect to the highest."""
        table = load_bundled(CAFFEINE, find_project() / "data")
        keyed = table.drop_duplicates("item").set_index("item")["keyed"]
        rows = self.run.items[self.run.items["tab"] == CAFFEINE].sort_values("total_std")
        words = [f"not {name}" if keyed[name] == "reversed" else name for name in rows["item"]]
        half = HALF_WIDTH * rows["total_se"]
        change = ["more" if low > 0 else "less" if high < 0 else "unclear" for low, high in zip(
            rows["total_std"] - half, rows["total_std"] + half, strict=True)]  # fmt: skip
        return rows.assign(label=[word.replace(".", " ") for word in words], change=change)

    @property
    def persons(self) -> str:
        return f"{self._row['n_persons']:,}"

    @property
    def studies(self) -> int:
        return load_bundled(CAFFEINE, find_project() / "data")["cluster"].nunique()

    @property
    def total(self) -> str:
        """The difference of the sum scores, in points of the scale."""
        return number(self._document["inference"]["sum_score"]["difference"], 1)

    @property
    def total_interval(self) -> str:
        found = self._document["inference"]["sum_score"]
        scale = found["sd"]
        low, high = (found["difference"] + sign * HALF_WIDTH * found["smd_se"] * scale for sign in (-1, 1))
        return between(low, high, 1)

    @property
    def average(self) -> str:
        return _with_interval(self._row["ate_std"], self._row["ate_std_se"])

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
        return number(self._row["beta3_b"], 2)

    @property
    def beta3_with(self) -> str:
        return number(self._row["beta3_c"], 2)

    @property
    def beta3_difference(self) -> str:
        return _with_interval(self._row["delta_beta3"], self._row["delta_beta3_se"])

    @cached_property
    def _rated(self) -> dict[str, Any]:
        """The same trial with the four answers as they were given, by the vignette's two models."""
        trial = prepare(load_bundled(CAFFEINE, find_project() / "data", rated=True), CAFFEINE)
        return effects(trial, fit_models(trial, ["M_0", "M_A"], method=default_method(trial.profile))).summary

    @property
    def ratios(self) -> str:
        """The likelihood ratio of the answers cut in two, and of the ratings."""
        return f"{number(self._row['lrt_stat'], 0)} to {number(self._rated['lrt_stat'], 0)}"

    @property
    def spreads(self) -> str:
        """sigma_zeta of the answers cut in two, and of the ratings, SDs."""
        return f"{number(self._row['sigma_zeta_std'], 2)} and {number(self._rated['sigma_zeta_std'], 2)}"

    def count(self, change: str) -> int:
        """Items whose 95% interval lies above 0 ("more"), below it ("less") or holds it ("unclear")."""
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

    def item(self, name: str) -> str:
        """The effect on an item, in SDs."""
        return number(self._of(name)["total_std"], 2)

    def share(self, name: str) -> str:
        """Who gave the anxious answer, without and with caffeine."""
        row = self._of(name)
        return f"{100 * row['p_ctrl']:.0f}% to {100 * row['p_treat']:.0f}%"

    def _of(self, name: str) -> dict[str, Any]:
        (row,) = self.items[self.items["item"] == name].to_dict("records")
        return row

    def figure(self) -> go.Figure:
        from ilhte_lib.figures.answers import answers_figure

        words = {
            "more": "caffeine: more anxious",
            "less": "caffeine: less anxious",
            "unclear": "caffeine: no clear difference",
        }
        return answers_figure(self.items, "placebo", "caffeine", words, "Share of anxious answers")

    @property
    def alt(self) -> str:
        rows = self.items.iloc[::-1]
        listed = "; ".join(f"{row.label} {row.p_ctrl:.0%} to {row.p_treat:.0%}" for row in rows.itertuples())
        return f"{len(rows)} items with the share of anxious answers under placebo and under caffeine: {listed}."


@dataclass(frozen=True)
class Fading:
    """Films and negative affect before, right after and half an hour later, each time fitted on its own."""

    run: RunResults

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row a film and time: ``tab``, ``treatment``, ``wave``, ``effect``, ``se``, ``spread`` (SDs), ``persons``."""
        import pandas as pd

        rows = []
        for tab, film in FILMS.items():
            table = load_bundled(tab, find_project() / "data")
            for wave in TIMES:
                trial = prepare(table, tab, wave=str(wave))
                found = effects(trial, fit_models(trial, method=default_method(trial.profile))).summary
                rows.append(
                    {
                        "tab": tab,
                        "treatment": f"{film} film" if film != "Comedy" else film,
                        "wave": wave,
                        "effect": found["ate_std"],
                        "se": found["ate_std_se"],
                        "spread": found["sigma_zeta_std"],
                        "persons": found["n_persons"],
                    }
                )
        return pd.DataFrame(rows)

    def _at(self, tab: str, wave: int) -> dict[str, Any]:
        (row,) = self.rows[(self.rows["tab"] == tab) & (self.rows["wave"] == wave)].to_dict("records")
        return row

    def at(self, tab: str, wave: int) -> str:
        """The average effect of a film at a time, with its interval."""
        row = self._at(tab, wave)
        return _with_interval(row["effect"], row["se"])

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
            f"{row.treatment} {TIMES[row.wave]} {_with_interval(row.effect, row.se)}" for row in self.rows.itertuples()
        )
        return f"Average effects on negative affect in SDs of the persons, three films at three times: {told}."


def _with_interval(value: float, se: float) -> str:
    return f"{number(value, 2)} [{between(value - HALF_WIDTH * se, value + HALF_WIDTH * se)}]"
