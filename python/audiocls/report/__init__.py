"""Finished runs → who is better, how sure that is, and one HTML page that shows it."""
