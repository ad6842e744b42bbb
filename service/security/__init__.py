"""Who may call what, how often, and over which connection."""
