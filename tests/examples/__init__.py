"""The examples' own code, on small data made on the spot."""
