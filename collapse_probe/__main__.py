"""``python -m collapse_probe`` is ``collapse-probe``."""

from .cli import main

if __name__ == "__main__":
    main()
