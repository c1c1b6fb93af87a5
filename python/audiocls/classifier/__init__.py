"""A trained model on disk: its description, weights, graph, and what it answers."""
