"""``python -m collapse_probe`` is ``collapse-probe``."""

import os
import sys

if __name__ == "__main__" and sys.argv[1:2] == ["run"] and not sys.flags.safe_path:
    # As behind the installed command: a script's neighbour that is called as a package is, is no package of ours.
    sys.path[0] = os.path.dirname(sys.executable)

from .cli import main

if __name__ == "__main__":
    main()
