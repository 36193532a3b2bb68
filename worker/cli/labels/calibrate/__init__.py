"""`clip-worker labels calibrate`: fits a label set's probabilities to labelled images."""
