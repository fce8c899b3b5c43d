"""Modules for ``a1400 verify --plugin``: mistakes planted on purpose."""
