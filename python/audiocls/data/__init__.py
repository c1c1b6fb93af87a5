"""Recordings and their labels: what a data set on disk, behind a URL or in a table holds."""
