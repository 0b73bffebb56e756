"""What can go wrong with Redis, named by whose fault it is.

StoreError
├── StoreUnavailable    the infrastructure's: try the same call again later
│   └── StoreLost       and it has lost writes that it had acknowledged
└── StoreMisconfigured  the operator's: says which setting to change, and to what
"""

# ruff: noqa: N818 -- named by what they say to the caller, as in the tree above


class StoreError(Exception):
    """Redis answered a call with an error that trying again will not cure: a fault in Doorstep."""


class StoreUnavailable(StoreError):
    """Redis could not be asked, or did not answer, or cannot do it now (loading, demoted, out of memory …).

    Whether the call was carried out is not known. Every call of the store may be repeated.
    """


class StoreLost(StoreUnavailable):
    """Redis does not have any more what it acknowledged: what is lost is to be written again first."""


class StoreMisconfigured(StoreError):
    """The settings or the server's configuration would lose data or cannot work."""
