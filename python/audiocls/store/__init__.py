"""A feature store: its files, how it is made, resumed, joined and opened."""
