"""The other waves of a trial in sentences and rows: the placebo test, item effects by wave, and whether effects last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.inference.effects import ALPHA
from ilhte_lib.inference.waves import Waves

from .numbers import Row, between, number
from .sentences import p_words

if TYPE_CHECKING:
    from ilhte_lib.inference.waves import WaveDifference, WaveEffects

NOTE = (
    "M_A fitted to each wave separately; effects are {unit}, so that waves can be compared. Grey: the items' effects (estimates "
    "shrunk towards the average of their wave); blue: the average with its 95% interval."
)
DIFFERENCES = (
    "The later wave minus the analysed one, for the persons and items that both have. Standard errors come from resampling {what}, "
    "the same at both waves, with the items kept. The correlation is that of the estimated item effects, without an interval."
)


def _unit(found: Waves) -> str:
    return "in SDs of the persons at the analysed wave" if found.unit == "SD" else "in logits"


def placebo_finds(wave: WaveEffects) -> bool:
    """Whether there is an average effect or a spread of effects at a wave before randomisation, where there should be none."""
    return wave.finds_average or wave.p < ALPHA


def placebo_sentences(found: Waves) -> list[str]:
    """What waves before randomisation show, where average and spread should be zero."""
    said = []
    for wave in found.waves:
        if not wave.before:
            continue
        average = (
            f"average effect {number(wave.average, 2)} [95% interval {between(wave.average_low, wave.average_high)}]"
        )
        spread = f"SD of item effects {number(wave.spread, 2)} [{between(wave.spread_low, wave.spread_high)}]"
        wanted = "an effect can only be chance or a flaw"
        shown = f"Before randomisation (wave {wave.wave}), where {wanted}: {average}, {spread} {found.unit.plural}; equal effects {p_words(wave.p)}"
        if not placebo_finds(wave):
            said.append(f"{shown}. Neither is distinguishable from zero.")
            continue
        what = [text for text, there in (("the arms", wave.finds_average), ("items", wave.p < ALPHA)) if there]
        said.append(f"{shown}. {' and '.join(what).capitalize()} differ already at that wave.")
    return said


def placebo_warning(found: Waves | None) -> str | None:
    """A warning for the findings if a wave before randomisation shows an effect."""
    flawed = [wave.wave for wave in (found.waves if found else ()) if wave.before and placebo_finds(wave)]
    if not flawed:
        return None
    return (
        f"The arms differ before randomisation (wave {', '.join(flawed)}), on average or by item: effects found afterwards may have been "
        "there before."
    )


def wave_rows(found: Waves) -> list[Row]:
    """One row per wave."""
    unit = found.unit.plural
    return [
        {
            "Wave": wave.wave + (" (before)" if wave.before else " (analysed)" if wave.analysed else ""),
            "Persons": str(wave.n_persons),
            "Items": str(wave.n_items),
            f"Average ({unit})": number(wave.average, 3),
            "95% interval": between(wave.average_low, wave.average_high),
            f"σ_ζ ({unit})": number(wave.spread, 3),
            "Interval of σ_ζ": between(wave.spread_low, wave.spread_high),
        }
        for wave in found.waves
    ]


def waves_note(found: Waves) -> str:
    """The note on table and figure."""
    return NOTE.format(unit=_unit(found))


def fading_sentences(found: Waves) -> list[str]:
    """How later waves differ from the analysed one."""
    return [sentence for difference in found.differences for sentence in _fading(difference, found)]


def _fading(difference: WaveDifference, found: Waves) -> list[str]:
    here = next(wave for wave in found.waves if wave.analysed)
    unit = found.unit.plural

    def compared(what: str, value: float, low: float, high: float) -> str:
        if not low <= high:
            return f"{what} differs by {number(value, 2)} {unit} (not resampled: --bootstrap N)"
        way = "is lower" if high < 0 else "is higher" if low > 0 else "is not clearly different"
        return f"{what} {way}: by {number(value, 2)} [95% interval {between(low, high)}] {unit}"

    average = compared("the average effect", difference.average, difference.average_low, difference.average_high)
    spread = compared("the SD of item effects", difference.spread, difference.spread_low, difference.spread_high)
    return [f"At wave {difference.wave}, compared with wave {here.wave}, {average}; {spread}."]


def fading_rows(found: Waves) -> list[Row]:
    """Three rows per later wave: average, spread, and the correlation of the items' effects."""
    unit = f" ({found.unit.plural})"
    rows = []
    for one in found.differences:
        whom = f"{one.n_persons} persons, {one.n_items} items"
        for name, value, se, low, high in (
            (f"Average effect{unit}", one.average, one.average_se, one.average_low, one.average_high),
            (f"σ_ζ{unit}", one.spread, one.spread_se, one.spread_low, one.spread_high),
            ("Correlation of item effects", one.correlation, None, float("nan"), float("nan")),
        ):
            texts = (one.wave, name, number(value, 3), number(se, 3), between(low, high), whom)
            rows.append(dict(zip(("Wave", "", "Estimate", "SE", "95% interval", "Of"), texts, strict=True)))
    return rows


def fading_note(found: Waves) -> str:
    """The note on the differences."""
    whole = any(one.of_clusters for one in found.differences)
    return DIFFERENCES.format(what="whole clusters" if whole else "persons within arm")


def waves_words(found: Waves) -> str:
    """The figure of the waves in words."""
    parts = [f"wave {wave.wave}: {number(wave.average, 2)}, SD {number(wave.spread, 2)}" for wave in found.waves]
    return f"Effects of the items at each wave, {_unit(found)}, with their average. Average and SD: {'; '.join(parts)}."
