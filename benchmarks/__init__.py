"""Timings of the native engine against its peers: ``python -m benchmarks``."""
