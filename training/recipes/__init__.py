"""The runs that made the bundled models, each reproducible with one command."""
