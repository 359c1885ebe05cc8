"""Broken on purpose: this release shows what a rollout does with one that does not become healthy."""


def problem() -> str | None:
    """What is wrong: always something."""
    return "this release fails its health check on purpose"
