"""Pooling of channels-last images: x ``[N, D, H, W, C]`` -> y ``[N, OD, OH, OW, C]``, 1 for spatial axes that are not there.

===================  ======================================================  ======================
spec                 parameters                                              slots
===================  ======================================================  ======================
``pool_max``         in x: T, out y: OUT, GEOMETRY                           EPILOGUE(v; b, m, n)
``pool_average``     the same, int include_pad, lim_d, lim_h, lim_w          EPILOGUE(v; b, m, n)
``pool_lp``          the same as pool_max, float p                           EPILOGUE(v; b, m, n)
``pool_max_index``   in x: T, out y: T, out index: i64, GEOMETRY,
                     int i_n, i_c, i_d, i_h, i_w
===================  ======================================================  ======================

GEOMETRY is ``int N, D, H, W, C, OD, OH, OW, KD, KH, KW, SD, SH, SW, LD, LH, LW, PD, PH, PW, x_off, x_ld, y_off, y_ld``: K kernel,
S strides, L dilations, P low pads (high pads follow from the output size), ``*_ld`` pixel strides; images are ``D H W x_ld``
(``OD OH OW y_ld``) apart.  Slot coordinates: image, flat output pixel, channel.

``pool_average``: with ``include_pad`` 1 the divisor counts window positions below ``lim_*`` (input size plus high pad), else those
inside the image.  ``pool_max`` propagates NaN; a window with no element gives the lowest value.  ``pool_max_index``:
``index`` is contiguous ``[N, OD, OH, OW, C]``; element (n, c, d, h, w) is named ``n i_n + c i_c + d i_d + h i_h + w i_w`` -
:func:`index_strides` gives ONNX's two storage orders; of equal elements the first in (d, h, w) order is named.
T is floating (no f64 for lp) or, for max, any integer; ``pool_average``/``pool_lp`` work in T's register type.
"""
