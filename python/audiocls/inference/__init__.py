"""A trained model at work: on files, arrays and streams, and as a file for other programs.

Nothing here needs torch, except to run a model that has no graph, and to export one.
"""
