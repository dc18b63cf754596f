"""Plotly figures of one table and of many."""
