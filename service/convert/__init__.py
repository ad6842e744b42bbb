"""Pure functions between what is on the wire and what the models take and give."""
