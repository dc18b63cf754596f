"""Runs: many tables, each with an executed notebook, in a folder that can be resumed and compared."""
