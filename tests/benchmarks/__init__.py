"""Timings; each ends with one JSON line. Run one with `python -m tests.benchmarks.<name>`."""
