"""From a feature store to a trained classifier with scores that can be believed."""

from audiocls.training.loop import *  # noqa: F403
