"""Group, instance and batch statistics of channels-last activations, and their application.

=======================  ======================================================================  ======================
spec                     parameters                                                              slots
=======================  ======================================================================  ======================
``group_norm_partial``   in x: T, out part: f32, int N, P, C, S, chunk, x_off, x_ld              PROLOGUE(v; n, p, c)
``group_norm_stats``     in part: f32, out mean: f32, out inv_std: f32,
                         int N, P, C, G, S, chunk, float eps
``group_norm_apply``     in x: T, in mean: f32, in inv_std: f32, out y: OUT,                     PROLOGUE(v; n, p, c)
                         int N, P, C, G, x_off, x_ld, y_off, y_ld                                EPILOGUE(v; n, p, c)
=======================  ======================================================================  ======================

x is ``[N, P, C]`` with pixels ``x_ld`` apart (images ``P x_ld`` apart).  ``group_norm_partial`` gives ``part[N, S, 2, C]``: for
each channel and each chunk of ``chunk`` pixels the mean and the sum of squared distances from it; ``group_norm_stats``
combines them (in a fixed order) into ``mean[N, G]`` and ``inv_std[N, G]``; ``group_norm_apply`` gives
``EPILOGUE((PROLOGUE(x) - mean) * inv_std)`` with scale and bias per channel as operands (inner stride 1).  G must divide C;
G = C is instance normalisation; batch statistics are N = 1, P = all pixels, G = C.  :func:`split` chooses S and chunk.
T is f32, f16 or bf16; slots work in float, EPILOGUE gives OUT.
"""
