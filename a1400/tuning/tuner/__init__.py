"""``a1400 tune``: search the tunables of a model's kernels on a device, in a process that may crash or hang.

The upper floor of the tuning: it plans models and talks to verification's processes.  What the engine asks when it
plans (:mod:`a1400.tuning`) knows nothing of it.
"""
