"""Run `manta train` as a Ray job, with the same arguments.

On a cluster give `--runs s3://...`, since nodes share no disk.

    ray job submit --working-dir . -- python jobs/pretrain.py RECIPE --name NAME [a.b=c ...]
"""

import sys

from manta.cli import main

if __name__ == "__main__":
    sys.argv = ["manta", "train", *sys.argv[1:]]
    main()
