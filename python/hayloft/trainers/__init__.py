"""What other libraries' trainers need beside batches, a module for each library.

SAELens and dictionary-learning take batches as they are: see docs/python/.
"""
