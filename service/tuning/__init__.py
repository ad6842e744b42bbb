"""`python -m service tune`: which instances, threads and batches of a model are the fastest here, and why."""
