"""Measures of a model and their pictures; nothing here knows the package."""
