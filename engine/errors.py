"""What can go wrong, by name; each also is the builtin that a caller would expect.

Every message names the value, the bound and the cure. The command line prints it without a
traceback.
"""


class VoxelmillError(Exception):
    """The root of all errors that voxelmill raises on purpose."""


class SpecError(VoxelmillError, ValueError):
    """A spec that cannot be made: all its mistakes in one message."""


class SourceError(VoxelmillError, ValueError):
    """Inputs that are missing, unreadable or do not fit."""


class StoreError(VoxelmillError, OSError):
    """A store that is absent, damaged, newer than this program or made from another spec."""


class OwnedError(StoreError):
    """Another mill is making the same shards."""


class DiskFullError(StoreError):
    """No space is left where the store is written."""


class VersionError(VoxelmillError, RuntimeError):
    """A recipe or a package version that this program does not have."""


class RecipeError(VoxelmillError, TypeError):
    """A recipe that draws or renders something else than it declares."""


class SampleError(VoxelmillError, IndexError):
    """The number of a sample that a store does not have."""
