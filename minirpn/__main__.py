"""``python -m minirpn``."""

import sys

from minirpn.cli.main import main

sys.exit(main())
