"""Steps of preprocessing: what may be given as an image, its orientation, resampling, memory."""
