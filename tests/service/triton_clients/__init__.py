"""Scripts that real clients of other servers run: each in a process of its own, since their messages have the same
names as ours. They import nothing of this project."""
