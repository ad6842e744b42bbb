"""What starts from published models: measuring them, and joining several into one."""
