"""Moving shapes: the embedded world, and the layouts it is written in."""
