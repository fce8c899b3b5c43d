"""Measured settings of kernels, by device: which tunables a launch takes when nobody says otherwise.

Two tables hold them: ``a1400/tuning/table.json``, shipped with figures that were measured, and ``tuning.json`` in the
cache folder, the user's own.  :func:`lookup` is what the engine asks for each launch.  A tunable changes speed and
never results; ``a1400 verify`` runs every row (:func:`settings_to_verify`), on every device that can execute it.
"""

from a1400.tuning.choice import lookup, rows, settings_to_verify, settle, user_table
from a1400.tuning.table import Row, Table, parse

__all__ = ["Row", "Table", "lookup", "parse", "rows", "settings_to_verify", "settle", "user_table"]
