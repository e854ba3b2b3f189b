"""Numbers in what the command prints."""


def counted(number: int, noun: str) -> str:
    """`1 shard`, `5 shards`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value: float) -> str:
    """A rate: `1,234`, or with one decimal below 10."""
    return f"{value:,.1f}" if value < 9.95 else f"{value:,.0f}"
