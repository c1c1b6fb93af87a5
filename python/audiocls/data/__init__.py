"""From folders of recordings to a feature store: list, extract, open, summarise."""
