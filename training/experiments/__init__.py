"""Many trainings to learn something about training: how sure a score is, what an ingredient gives, what to set it to.

All of it is measured on validation parts. The test part of the data is left out before anything is trained, and not
looked at.
"""
