"""Softmax and log-softmax.

=================================================  ================================================  ======================
spec                                               parameters                                        slots
=================================================  ================================================  ======================
``softmax``, ``log_softmax``                       in x: T, out y: OUT, int rows, n, x_off, x_row    PROLOGUE(v; row, col)
                                                                                                     EPILOGUE(v; row, col)
``softmax_strided``, ``log_softmax_strided``       in x: T, out y: OUT, int O, R, I, x_off, x_o,     PROLOGUE(v; o, r, i)
                                                   x_r, x_i                                          EPILOGUE(v; o, r, i)
=================================================  ================================================  ======================

``softmax``: rows of n contiguous elements, ``x_row`` apart; y is contiguous ``[rows, n]``.  ``softmax_strided``: over r of
``x[x_off + o x_o + r x_r + i x_i]``; y is contiguous ``[O, R, I]``; fast when ``x_i`` is 1.  T and OUT are floating;
PROLOGUE's value and EPILOGUE's input have T's register type, EPILOGUE gives OUT.  A row that is all ``-inf``, or holds a
NaN or ``+inf``, gives NaN, as ONNX Runtime and PyTorch do.
"""
