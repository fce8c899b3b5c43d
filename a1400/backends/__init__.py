"""Vendor modules: everything that knows a driver.  ``base`` is the contract, ``registry`` finds devices."""
