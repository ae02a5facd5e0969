"""`python -m bridges.echo --config FILE`."""

import sys

from bridges.echo import build
from bridges.kit.runner import main
from bridges.kit.settings import BridgeSettings

if __name__ == "__main__":
    sys.exit(main(BridgeSettings, build, lambda settings: settings))
