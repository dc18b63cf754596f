"""Plotly figures for one table and for several."""
