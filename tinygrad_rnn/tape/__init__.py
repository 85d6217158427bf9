"""The engine, to be read in this order: node, primitive, tensor, apply, sums, sweep, backward, modes.

The files of this folder import nothing from the folders in it, but for ``backward``, which tells ``observe.leaks``
where a sweep starts.  What is in the folders attaches itself to the engine: ``inplace`` and ``hooks`` here and now,
``observe`` when it is used.
"""

from .hooks import tensor_hooks
from .inplace import versions, views

__all__: list[str] = []

del tensor_hooks, versions, views
