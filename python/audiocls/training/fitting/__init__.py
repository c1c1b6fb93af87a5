"""How a model is fitted: epochs, state, schedule, evaluation, calibration."""
