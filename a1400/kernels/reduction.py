"""Reductions over any axes.

Two families of specs, one spec per kind in each; kinds: ``sum mean max min prod l1 l2 sum_square log_sum logsumexp
any all`` and ``root_sum`` (square root of a sum: the last stage of a split ``l2``).

=======================  ==========================  ====================================  =====================
spec                     computes                    dtype variables                       slots
=======================  ==========================  ====================================  =====================
``reduce_<kind>``        y[o, i] from x[o, r, i]     T (x), ACC (accumulator), OUT (y)     PROLOGUE(v; o, r, i)
                                                                                           EPILOGUE(v; o, i)
``reduce_rows_<kind>``   y[o] from x[o, r]           T, ACC, OUT                           PROLOGUE(v; o, r)
                                                                                           EPILOGUE(v; o)
=======================  ==========================  ====================================  =====================

Parameters (``reduce_rows_<kind>`` has no ``I`` and no ``x_i``)::

    in x: T, out y: OUT, int O0, O1, R0, R1, I, S, chunk, count, x_off, x_o0, x_o1, x_r0, x_r1, x_i

x is at ``x[x_off + o0 x_o0 + o1 x_o1 + r0 x_r0 + r1 x_r1 + i x_i]`` with flat ``o = o0 O1 + o1`` and ``r = r0 R1 + r1``.
``S`` splits the reduction: y is contiguous ``[O, S, I]`` and part s covers ``chunk`` values of r from ``s chunk``; with
S = 1 give ``chunk = R0 R1``.  ``mean`` divides by ``count`` (the other kinds ignore it).  PROLOGUE's value has ACC's
register type (so without one T and ACC share it), EPILOGUE takes ACC and gives OUT; partial results of a split
reduction are stored in ACC's register type, see :func:`plan_reduce`.  Maxima and minima propagate NaN.
``l2``, ``log_sum``, ``logsumexp``, ``root_sum`` need a floating ACC; ``any``/``all`` take bool (or integer 0/1) values.

How a lowering uses this: :meth:`ReduceView.of` turns shape, strides and axes into the scalars (or says that a copy is
needed), :func:`plan_reduce` chooses the family, decides whether one launch is enough, and gives the stages in order.
"""
