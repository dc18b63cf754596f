"""The figures' data against small cases worked by hand, and the published results at their real size."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

pytest.importorskip("plotly.graph_objects", reason="plotly is not installed (extra 'report')")

from ilhte_lib.figures.profile import profile_figure
from ilhte_lib.figures.tables import interaction_figure, item_effects_figure, table_figure
from ilhte_lib.figures.theme import DEEP_BLUE, DEEP_RED, GREY
from ilhte_lib.inference.units import Scale, Unit

SUMMARY = pd.DataFrame(
    [
        # tab, n_items, n_persons, ate_std, sigma_zeta_std, rho, sd_ratio, delta_beta3, sig_il_hte
        ("high", 4, 1200, 0.51239, 0.25061, 0.456, 1.2004, -0.0316, True),
        ("<b>low</b>", 9, 100000, -0.1, 0.00004, None, 1.0, 0.02, False),
        ("mid", 16, 300, 0.2, 0.3, -1.0, 0.8, 0.0449, True),
        ("no pretest", 3, 50, 0.0, 0.1, 0.1, 0.9, None, False),
        ("no ratio", 3, 60, 0.1, 0.1, None, None, 0.3, False),
    ],
    columns=[
        "tab",
        "n_items",
        "n_persons",
        "ate_std",
        "sigma_zeta_std",
        "rho",
        "sd_ratio",
        "delta_beta3",
        "sig_il_hte",
    ],
)
ITEMS = pd.DataFrame(
    {
        "tab": ["high", "mid", "high", "<b>low</b>", "elsewhere"],
        "total_std": [0.123456, 0.3, 0.9, -0.2, 5.0],
    }
)


def points(trace):
    return list(zip(trace.x, trace.y, strict=True))


def test_figure_1_orders_tables_by_average_effect():
    figure = item_effects_figure(SUMMARY, ITEMS)
    small_yes, small_no, large_yes, large_no = figure.data
    # Ascending ate_std: <b>low</b> 1, no pretest 2, no ratio 3, mid 4, high 5.
    assert points(large_yes) == [(0.2, 4), (0.5124, 5)]
    assert points(large_no) == [(-0.1, 1), (0.0, 2), (0.1, 3)]
    assert points(small_yes) == [(0.1235, 5), (0.3, 4), (0.9, 5)]
    assert points(small_no) == [(-0.2, 1)]


def test_figure_1_marks_significance_by_colour_and_shape():
    small_yes, small_no, large_yes, large_no = item_effects_figure(SUMMARY, ITEMS).data
    assert [t.marker.color for t in (small_yes, large_yes)] == [DEEP_BLUE] * 2 == ["#2166ac"] * 2
    assert [t.marker.color for t in (small_no, large_no)] == [DEEP_RED] * 2 == ["#d73027"] * 2
    assert large_yes.marker.symbol != large_no.marker.symbol
    assert small_yes.marker.size < large_yes.marker.size and small_yes.marker.opacity < 1


def test_figure_1_hovers_on_the_large_points_alone():
    small_yes, small_no, large_yes, large_no = item_effects_figure(SUMMARY, ITEMS).data
    for small in (small_yes, small_no):
        assert small.hoverinfo == "skip" and small.text is None
    assert large_yes.hoverinfo == large_no.hoverinfo == "text"
    assert large_yes.text[1] == (
        "<b>high</b><br>ATE: 0.512 SD<br>σ<sub>ζ</sub>: 0.251 SD<br>ρ: 0.46<br>Items: 4<br>N: 1200<br>Sig. IL-HTE: TRUE"
    )
    assert large_no.text[0] == (
        "<b>&lt;b&gt;low&lt;/b&gt;</b><br>ATE: −0.1 SD<br>σ<sub>ζ</sub>: 0 SD<br>ρ: not defined<br>Items: 9<br>N: 100000<br>"
        "Sig. IL-HTE: FALSE"
    )


def test_every_point_knows_its_table():
    small_yes, small_no, large_yes, large_no = item_effects_figure(SUMMARY, ITEMS).data
    assert list(large_yes.customdata) == ["mid", "high"]
    assert list(large_no.customdata) == ["<b>low</b>", "no pretest", "no ratio"]
    assert list(small_yes.customdata) == ["high", "mid", "high"] and list(small_no.customdata) == ["<b>low</b>"]
    coloured, grey = interaction_figure(SUMMARY).data
    assert list(coloured.customdata) == ["high", "mid"] and list(grey.customdata) == ["<b>low</b>"]


def test_figure_1_layout():
    layout = item_effects_figure(SUMMARY, ITEMS).layout
    assert layout.height == 400 and layout.xaxis.title.text == "Item-specific treatment effect (SDs)"
    assert layout.legend.orientation == "h" and layout.legend.yanchor == "bottom" and layout.legend.y == 0
    many = pd.concat([SUMMARY.assign(tab=SUMMARY["tab"] + str(k)) for k in range(7)], ignore_index=True)
    assert item_effects_figure(many, ITEMS).layout.height == 35 * 20 + 100
    assert item_effects_figure(SUMMARY, ITEMS).layout.yaxis.ticktext[0] == "&lt;b&gt;low&lt;/b&gt;"
    too_many = pd.concat([many, many.assign(tab=many["tab"] + "x")], ignore_index=True)
    layout = item_effects_figure(too_many, ITEMS).layout
    assert layout.height == 70 * 14 and layout.yaxis.showticklabels is False


def test_figure_1_draws_a_far_item_at_the_edge_of_the_axis_as_an_arrow():
    near = pd.DataFrame({"tab": "high", "total_std": [0.1, 0.2, 0.25, 0.3, 0.4]})
    far = pd.concat([near, pd.DataFrame({"tab": ["high"], "total_std": [-30.0]})], ignore_index=True)
    points = item_effects_figure(SUMMARY, far).data[0]
    assert list(points.marker.symbol) == ["circle"] * 5 + ["triangle-left"]
    assert min(points.x) > -2 and list(points.x[:5]) == list(near["total_std"])
    points = item_effects_figure(SUMMARY, near).data[0]
    assert points.marker.symbol is None and list(points.x) == list(near["total_std"])


def test_figure_2_draws_the_tables_with_an_interaction_and_counts_the_others():
    figure = interaction_figure(SUMMARY)
    coloured, grey = figure.data
    assert points(coloured) == [(1.2, -0.0316), (0.8, 0.0449)]
    assert points(grey) == [(1.0, 0.02)]
    assert list(coloured.marker.symbol) == ["circle", "square"]
    assert list(coloured.marker.color) == [0.456, -1.0] and grey.marker.color == GREY
    assert list(coloured.marker.size) == [4.0, 8.0] and list(grey.marker.size) == [6.0]
    assert grey.marker.symbol not in (None, "circle") and grey.showlegend is not False and "not defined" in grey.name
    assert figure.layout.meta == {"drawn": 3, "without_interaction": 1, "without_ratio": 1}


def test_figure_2_scale_line_and_hover():
    figure = interaction_figure(SUMMARY)
    coloured, grey = figure.data
    assert (coloured.marker.cmin, coloured.marker.cmax) == (-1, 1) and coloured.marker.colorbar.title.text == "ρ"
    assert coloured.marker.colorscale == ((0, "#2166ac"), (0.5, "#d3d3d3"), (1, "#d73027"))
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1, line.y0, line.y1, line.line.dash) == (1, 1, -0.0316, 0.0449, "dash")
    assert coloured.text[0] == "<b>high</b><br>Δβ₃: −0.032<br>SD ratio: 1.2<br>ρ: 0.46<br>Items: 4<br>N: 1200"
    assert "ρ: not defined" in grey.text[0] and "&lt;b&gt;" in grey.text[0]


def test_figure_2_without_any_pretest_says_so():
    figure = interaction_figure(SUMMARY.assign(delta_beta3=None))
    assert not figure.layout.shapes and len(figure.layout.annotations) == 1
    assert figure.layout.meta == {"drawn": 0, "without_interaction": 5, "without_ratio": 0}


def one_table():
    items = pd.DataFrame(
        {
            "item": ["easy", "<i>hard</i>", "odd"],
            "b_std": [1.0, -1.0, 0.5],
            "total_std": [0.5, -0.1, 0.2],
            "total_se": [0.1, 0.2, math.nan],
            "n_ctrl": [50, 50, 40],
            "n_treat": [48, 49, 41],
            "p_ctrl": [0.7, 0.3, 0.525],
            "p_treat": [0.8125, 0.25, 0.6],
        }
    )
    return items, pd.Series({"ate_std": 0.2, "sig_il_hte": True, "rho": 0.456})


def test_one_table_s_items_in_order_with_their_bars():
    figure = table_figure(*one_table())
    ordered, easiness = figure.data
    assert points(ordered) == [(-0.1, 1), (0.2, 2), (0.5, 3)]
    assert list(ordered.error_x.array) == [0.392, None, 0.196]
    assert points(easiness) == [(-0.1, -1.0), (0.2, 0.5), (0.5, 1.0)]
    assert list(figure.layout.yaxis.ticktext) == ["&lt;i&gt;hard&lt;/i&gt;", "odd", "easy"]
    assert {(line.x0, line.x1) for line in figure.layout.shapes} == {(0.2, 0.2)}
    assert ordered.text[0] == (
        "<b>&lt;i&gt;hard&lt;/i&gt;</b><br>Effect: −0.1 SD (−0.492 to 0.292)<br>Easiness: −1 SD<br>"
        "Control: 0.3 of 50<br>Treated: 0.25 of 49"
    )
    assert "interval not defined" in ordered.text[1]
    assert [a.text for a in figure.layout.annotations] == ["ρ = 0.46"]
    undefined = table_figure(one_table()[0], one_table()[1].replace(0.456, None))
    assert [a.text for a in undefined.layout.annotations] == ["ρ is not defined"]


def test_one_table_in_logits_says_so():
    items, summary = one_table()
    in_logits = items.rename(columns={"b_std": "b", "total_std": "total"}).assign(b_std=math.nan, total_std=math.nan)
    figure = table_figure(in_logits, pd.Series({**summary, "ate_std": math.nan, "ate": 0.3}), Unit.LOGIT)
    assert points(figure.data[0]) == points(table_figure(items, summary).data[0])
    assert {(line.x0, line.x1) for line in figure.layout.shapes} == {(0.3, 0.3)}
    assert figure.layout.xaxis2.title.text == "Item-specific treatment effect (logits)"
    assert figure.layout.yaxis2.title.text == "Easiness (logits)" and "Effect: −0.1 logit (" in figure.data[0].text[0]


def test_figure_1_leaves_out_tables_whose_persons_do_not_differ():
    without = SUMMARY.assign(ate_std=[math.nan, *SUMMARY["ate_std"][1:]])
    figure, gone = item_effects_figure(without, ITEMS), SUMMARY["tab"].iloc[0]
    named = [tab for trace in figure.data for tab in trace.customdata]
    assert gone not in named and set(SUMMARY["tab"]) - {gone} <= set(named)
    nobody = item_effects_figure(SUMMARY.assign(ate_std=math.nan), ITEMS)
    assert all(len(trace.x) == 0 for trace in nobody.data)


def test_no_profile_at_all_is_said():
    figure = profile_figure([], [], Scale.of(1.0))
    assert [a.text for a in figure.layout.annotations] == ["No profile could be computed"]


def all_figures():
    return [item_effects_figure(SUMMARY, ITEMS), interaction_figure(SUMMARY), table_figure(*one_table())]


@pytest.mark.parametrize("figure", all_figures(), ids=["items", "interaction", "table"])
def test_figures_are_transparent_small_and_strict_json(figure):
    layout = figure.layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
    text = figure.to_json()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert len(json.dumps(json.loads(text)["layout"].get("template", {}))) < 200


def test_null_columns_survive_a_parquet_file(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'report')")
    path = tmp_path / "summary.parquet"
    SUMMARY.assign(rho=pd.Series([None] * 5, dtype=object)).to_parquet(path)
    summary = pd.read_parquet(path)
    coloured, grey = interaction_figure(summary).data
    assert len(coloured.x) == 0 and len(grey.x) == 3
    assert all(
        "ρ: not defined" in text for trace in item_effects_figure(summary, ITEMS).data[2:] for text in trace.text
    )


def test_long_names_are_cut():
    summary = SUMMARY.assign(tab=["x" * 300, *SUMMARY["tab"][1:]])
    text = item_effects_figure(summary, ITEMS).data[2].text[1]
    assert text.startswith("<b>" + "x" * 79 + "…</b>")


@pytest.mark.shared
def test_the_published_results_at_their_real_size(shared):
    folder = shared / "reference" / "irw_published"
    summary, items = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "items.csv")
    figure = item_effects_figure(summary, items)
    small_yes, small_no, large_yes, large_no = figure.data
    assert len(large_yes.x) + len(large_no.x) == 70 and len(large_yes.x) == 40
    assert len(small_yes.x) + len(small_no.x) == 2210
    assert figure.layout.height == 980
    effect = dict(zip(summary["tab"], summary["ate_std"], strict=True))
    rows = sorted(points(large_yes) + points(large_no), key=lambda point: point[1])
    assert [y for _, y in rows] == list(range(1, 71))
    assert [x for x, _ in rows] == pytest.approx(sorted(effect.values()), rel=1e-3, abs=1e-12)

    second = interaction_figure(summary)
    with_interaction = summary["delta_beta3"].notna()
    assert second.layout.meta["drawn"] == sum(len(trace.x) for trace in second.data) == with_interaction.sum()
    assert second.layout.meta["without_interaction"] == (~with_interaction).sum()
    (line,) = second.layout.shapes
    assert (line.y0, line.y1) == (summary["delta_beta3"].min(), summary["delta_beta3"].max())
