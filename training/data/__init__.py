"""Reading data sets, splitting them, and turning them into batches."""
