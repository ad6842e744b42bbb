"""Tables of readings, cut into windows."""
