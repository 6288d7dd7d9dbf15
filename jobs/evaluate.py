"""ray job submit --working-dir . -- python jobs/evaluate.py RUN_OR_MODEL --data SOURCE

The same arguments as `manta evaluate`.
"""

import sys

from manta.cli import main

if __name__ == "__main__":
    sys.argv = ["manta", "evaluate", *sys.argv[1:]]
    main()
