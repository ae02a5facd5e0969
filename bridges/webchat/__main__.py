"""`python -m bridges.webchat --config FILE` runs the bridge; with `--registration` it prints its registration file."""

import sys

from bridges.kit.runner import main
from bridges.webchat.bridge import WebchatBridge
from bridges.webchat.settings import WebchatSettings

if __name__ == "__main__":
    sys.exit(main(WebchatSettings, WebchatBridge, lambda settings: settings.bridge))
