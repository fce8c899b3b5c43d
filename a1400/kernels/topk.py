"""The k largest or smallest elements of each row, sorted: ``topk``; with k = n it sorts.

========  ======================================================================================  ===============
spec      parameters                                                                              dtype variables
========  ======================================================================================  ===============
``topk``  in x: T, out values: T, out indices: i64, int rows, n, k, largest, x_off, x_row, x_col  T
========  ======================================================================================  ===============

Element j of row r is ``x[x_off + r x_row + j x_col]``; ``values`` and ``indices`` are contiguous ``[rows, k]``, best first.
Equal elements come in index order.  NaN counts as larger than every number (NumPy, PyTorch), the two zeros as equal.
No slots and no scratch buffer: ``indices`` holds the work in progress.  GPUs: where ``MERGE_K < k < n`` every element is ranked
against the whole row, O(n^2); prefer k = n and a slice for rows beyond some ten thousand (:func:`padded_k`).
"""
