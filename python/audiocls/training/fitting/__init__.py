"""The steps of a training: an epoch, its objective and state, the judgement at the end."""
