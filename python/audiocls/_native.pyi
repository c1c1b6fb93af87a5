"""Types of the Rust engine; stubtest holds this file to the compiled module."""

__version__: str
