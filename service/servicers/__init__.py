"""The RPCs: convert, call, convert."""
