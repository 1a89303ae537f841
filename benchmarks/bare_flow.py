"""The least that Prefect can do: a flow of two tasks that do nothing."""

from prefect import flow, task


@task
def first() -> int:
    return 1


@task
def second(number: int) -> int:
    return number + 1


@flow
def bare() -> int:
    return second(first())


if __name__ == "__main__":
    bare()
