"""From features to scores: probabilities, hierarchies of labels, calibration."""
