"""Trees that other programs searched, imported so that this package's planners run over them without a model.

`tree_log.py`      the text format that `forethought import` reads.
`import_trees.py`  from such a file to a tape.
"""
