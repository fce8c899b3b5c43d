"""Normalisation of rows: layer and RMS normalisation.

========================  ==========================================  ============================================
spec                      outputs                                     computes (a = PROLOGUE(x; row, col))
========================  ==========================================  ============================================
``layer_norm``            out y: OUT                                  (a - mean) * inv_std
``layer_norm_residual``   out y: OUT, out sum: T                      the same; sum = a
``layer_norm_stats``      out y: OUT, out mean: f32, inv_std: f32     the same; mean and inv_std are ``[rows]``
``rms_norm``              out y: OUT                                  a * inv_rms
``rms_norm_residual``     out y: OUT, out sum: T                      the same; sum = a
========================  ==========================================  ============================================

Parameters: ``in x: T``, the outputs in the order above, ``int rows, n, x_off, x_row, float eps``.  Slots PROLOGUE(v; row, col)
(e.g. a residual that is added) and EPILOGUE(v; row, col), which takes scale and bias as operands with inner stride 1 and
row stride 0.  ``inv_std = 1 / sqrt(var + eps)`` with the biased variance in two passes; ``inv_rms = 1 / sqrt(mean(a a) + eps)``.
Rows are n contiguous elements, ``x_row`` apart; outputs are contiguous.  T and OUT are floating; slots work in T's
register type (EPILOGUE gives OUT).
"""
