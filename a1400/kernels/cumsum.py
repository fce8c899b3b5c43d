"""Running sums and products along one axis.

==============  ====================================================================  ===============
spec            parameters                                                            dtype variables
==============  ====================================================================  ===============
``cumsum``      in x: T, out y: T, int O, R, I, x_off, x_o, x_r, x_i,                 T
``cumprod``     int exclusive, reverse
==============  ====================================================================  ===============

Over r of ``x[x_off + o x_o + r x_r + i x_i]``; y is contiguous ``[O, R, I]``.  ``exclusive`` leaves the element itself out
(starting from 0, or 1), ``reverse`` runs from the end.  Half types accumulate in float.  No slots.
"""
