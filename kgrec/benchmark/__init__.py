"""Benchmark suites: models side by side on a sealed test part, and the report of it."""
