"""Index of the largest or smallest element: ``argmax`` and ``argmin``.

==============  ===========================================================  ===============
spec            parameters                                                   dtype variables
==============  ===========================================================  ===============
``argmax``      in x: T, out y: i64, int O, R, I, x_off, x_o, x_r, x_i,      T (x)
``argmin``      int select_last
==============  ===========================================================  ===============

``y[o, i]`` (contiguous) is the r of the extreme ``x[x_off + o x_o + r x_r + i x_i]``: the first one, or the last with
``select_last``.  A NaN wins over every number, as in NumPy.  R must be at least 1.  No slots.
"""
