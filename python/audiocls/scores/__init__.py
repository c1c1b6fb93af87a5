"""Numbers that judge a model, and their pictures; nothing here knows the package."""
