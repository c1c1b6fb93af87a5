"""The Rust engine as Python sees it: settings, decoding, features.

Only this wing imports `_native`.
"""
