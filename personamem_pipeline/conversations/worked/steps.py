"""Questions about procedures, for the built-in padding pool: sorting, number bases, dates, Euclid's method.

Each function takes a name that must occur in both texts and a generator, and returns (question, worked answer).
"""

from __future__ import annotations

import random
from datetime import date, timedelta


def sorting(name: str, draw: random.Random) -> tuple[str, str]:
    numbers = draw.sample(range(10, 1000), draw.randint(6, 8))
    rest, steps = list(numbers), []
    for place in range(1, len(rest)):
        value = rest.pop(place)
        target = next((i for i in range(place) if rest[i] > value), place)
        rest.insert(target, value)
        moved = "stays where it is" if target == place else f"moves to place {target + 1}"
        steps.append(f"{place}. {value} {moved}: {', '.join(map(str, rest))}")
    return (
        f"Please sort the measurements {', '.join(map(str, numbers))} from the list of {name} by insertion sort and write"
        " down the list after every step, I want to follow it by hand.",
        f"Insertion sort takes the values of {name} one after the other and puts each into its place among those before"
        f" it. We begin with {', '.join(map(str, numbers))}; the first value alone is sorted already.\n"
        + "\n".join(steps)
        + f"\nAfter {len(numbers) - 1} steps the list is sorted. In the worst case, a list in reverse order, this needs"
        f" {len(numbers) * (len(numbers) - 1) // 2} comparisons for {len(numbers)} values, so for long lists one takes"
        " another method.",
    )


def bases(name: str, draw: random.Random) -> tuple[str, str]:
    value, base = draw.randint(150, 60000), draw.choice((2, 3, 5, 7, 8, 16))
    rest, steps, digits = value, [], ""
    while rest:
        quotient, digit = divmod(rest, base)
        digits = "0123456789ABCDEF"[digit] + digits
        steps.append(f"{rest} / {base} = {quotient}, remainder {digit}")
        rest = quotient
    return (
        f"The serial number {name}-{value} has to be stored with its number part in base {base}. How do I convert {value}"
        " by hand, and how can I check the result?",
        f"For {name}-{value}, divide by {base} again and again and note the remainders:\n" + "\n".join(steps) + "\n"
        f"Read from the last remainder to the first, they give {digits}"
        + (" (10 to 15 are written A to F)" if base == 16 else "")
        + f". So {value} in base {base} is {digits}, with {len(digits)} digits.\n"
        f"To check it, start with 0 and for each digit multiply by {base} and add the digit; at the end {value} must come"
        " out again.",
    )


def dates(name: str, draw: random.Random) -> tuple[str, str]:
    first = date(1985, 1, 1) + timedelta(days=draw.randrange(14000))
    days = draw.randint(45, 900)
    last = first + timedelta(days=days)
    weeks, extra = divmod(days, 7)
    return (
        f"Contract {name} was signed on {_day(first)} and runs for {days} days. On which date and which day of the week"
        " does it end, if the day of signing is day zero?",
        f"Contract {name} starts on a {first:%A}. {days} days are {weeks} weeks and {extra} days, and whole weeks do not"
        f" change the day of the week, so we only move on by {extra} from {first:%A} and arrive at {last:%A}.\n"
        f"For the date itself, go month by month from {_day(first)} and use up the {days} days, with 29 days in February"
        f" of a leap year; this leads to {_day(last)}.\n"
        f"So the contract ends on {last:%A}, {_day(last)}. It is day {last.timetuple().tm_yday} of the year {last.year}.",
    )


def factors(name: str, draw: random.Random) -> tuple[str, str]:
    common = draw.choice((6, 8, 9, 10, 12, 14, 15, 18, 21, 24, 28, 30))
    first, second = (common * factor for factor in draw.sample(range(3, 90), 2))
    a, b, steps = first, second, []
    while b:
        steps.append(f"{a} = {a // b} x {b} + {a % b}")
        a, b = b, a % b
    return (
        f"Two machines at {name} need service every {first} and every {second} hours. They were serviced together today."
        " After how many hours does that happen again, and what is the greatest common divisor of the two figures?",
        f"For {name} we need the least common multiple, and the shortest way to it is the greatest common divisor by"
        " Euclid's method: divide, keep the remainder, repeat until it is zero.\n" + "\n".join(steps) + "\n"
        f"The last remainder that is not zero is {a}, so the greatest common divisor is {a}.\n"
        f"The least common multiple is {first} x {second} / {a} = {first * second // a}. After {first * second // a} hours"
        f" both are due together again; by then the first was serviced {second // a} times, the second {first // a} times.",
    )


def _day(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"
