"""The version of the package and of the store format; nothing else, so that a build can read it."""

VERSION = "0.1.0"
FORMAT = 1  # of stores: a reader refuses one that is newer
