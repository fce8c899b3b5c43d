"""``python -m a1400`` is the command ``a1400``."""

from a1400.cli import main

if __name__ == "__main__":
    main()
