"""Modules for ``a1400 tune --plugin``: mistakes planted on purpose."""
