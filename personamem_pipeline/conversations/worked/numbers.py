"""Questions about amounts, for the built-in padding pool: prices, journeys, units, equations, statistics.

Each function takes a name that must occur in both texts and a generator, and returns (question, worked answer).
"""

from __future__ import annotations

import math
import random

_GOODS = (
    "envelopes", "screws", "light bulbs", "batteries", "towels", "folders", "nails", "name tags", "paper clips",
    "cables", "filters", "labels", "gloves", "brackets", "bricks", "tiles", "buckets", "hinges", "lids", "valves",
)  # fmt: skip
_UNITS = (
    ("miles", "kilometres", 1.609344), ("pounds", "kilograms", 0.45359237), ("feet", "metres", 0.3048),
    ("gallons", "litres", 3.785411784), ("inches", "centimetres", 2.54), ("acres", "hectares", 0.40468564224),
    ("ounces", "grams", 28.349523125), ("yards", "metres", 0.9144), ("knots", "kilometres per hour", 1.852),
)  # fmt: skip
"""(from, to, factor); the international definitions of 1959 and the US liquid gallon."""


def order(name: str, draw: random.Random) -> tuple[str, str]:
    goods = draw.sample(_GOODS, 3)
    counts = [draw.randint(2, 60) for _ in goods]
    cents = [draw.randint(40, 1995) for _ in goods]
    discount, delivery = draw.choice((5, 10, 15, 20, 25)), draw.randint(300, 1500)
    listed = ", ".join(
        f"{n} boxes of {good} at {_money(c)} a box" for n, good, c in zip(counts, goods, cents, strict=True)
    )
    totals = [n * c for n, c in zip(counts, cents, strict=True)]
    lines = "\n".join(
        f"- {good}: {n} x {_money(c)} = {_money(total)}"
        for good, n, c, total in zip(goods, counts, cents, totals, strict=True)
    )
    total = sum(totals)
    less = round(total * discount / 100)
    return (
        f"The firm {name} orders {listed}. There is a discount of {discount} percent on the goods, and delivery costs"
        f" {_money(delivery)} on top. What does the firm have to pay in the end? Please show every step.",
        f"Let us add up what {name} orders first:\n{lines}\nThe goods come to {_money(total)}.\n"
        f"The discount is {discount} percent of {_money(total)}, which is {_money(less)} (rounded to cents), so"
        f" {_money(total - less)} remains.\nWith the delivery of {_money(delivery)}, which is not reduced, the firm pays"
        f" {_money(total - less)} + {_money(delivery)} = {_money(total - less + delivery)}.",
    )


def trip(name: str, draw: random.Random) -> tuple[str, str]:
    speeds = draw.sample(range(24, 132, 2), 2)
    minutes = [draw.randrange(10, 175, 5) for _ in speeds]
    stop = draw.randrange(5, 50)
    start = draw.randrange(5 * 60, 18 * 60)
    metres = [round(speed * 1000 * m / 60) for speed, m in zip(speeds, minutes, strict=True)]
    arrival = start + sum(minutes) + stop
    average = sum(metres) / 1000 / ((sum(minutes) + stop) / 60)
    return (
        f"A lorry of the firm {name} leaves at {_clock(start)}. It drives {minutes[0]} minutes at {speeds[0]} km/h, stands"
        f" still for {stop} minutes, and drives another {minutes[1]} minutes at {speeds[1]} km/h. How far does it get, when"
        " does it arrive, and what is its average speed with the stop counted in?",
        f"For the lorry of {name}, distance is speed times time, with the time in hours.\n"
        f"First part: {speeds[0]} km/h x {minutes[0]}/60 h = {metres[0] / 1000:.2f} km.\n"
        f"Second part: {speeds[1]} km/h x {minutes[1]}/60 h = {metres[1] / 1000:.2f} km.\n"
        f"Together that is {sum(metres) / 1000:.2f} km.\n"
        f"It is on the way for {minutes[0]} + {stop} + {minutes[1]} = {sum(minutes) + stop} minutes, so it arrives at"
        f" {_clock(arrival)}.\nThe average speed is the whole distance over the whole time:"
        f" {sum(metres) / 1000:.2f} km / {(sum(minutes) + stop) / 60:.3f} h = {average:.1f} km/h. The stop pulls it below"
        " what one might expect from the two speeds.",
    )


def units(name: str, draw: random.Random) -> tuple[str, str]:
    source, target, factor = draw.choice(_UNITS)
    values = sorted(draw.sample(range(3, 900), 5))
    rows = "\n".join(f"- {value} {source} = {value} x {factor} = {value * factor:.2f} {target}" for value in values)
    back = draw.randint(10, 500)
    return (
        f"For the records of {name} I have to turn these figures from {source} into {target}:"
        f" {', '.join(map(str, values))}. And what is {back} {target} in {source}?",
        f"One of the {source} is {factor} {target}, so each figure of {name} is multiplied by {factor}:\n{rows}\n"
        f"For the way back one divides: {back} / {factor} = {back / factor:.2f}, so {back} {target} are about"
        f" {back / factor:.2f} {source}. All results are rounded to two places at the very end, not in between.",
    )


def equation(name: str, draw: random.Random) -> tuple[str, str]:
    x, y = draw.randint(2, 95), draw.randint(2, 95)
    a, b = draw.sample(range(2, 19), 2)
    total = x + y
    value = a * x + b * y
    return (
        f"{name} sells two kinds of tickets, one for {a} euros and one for {b} euros. Altogether {total} tickets were sold"
        f" and {value} euros came in. How many of each kind were there? I keep getting fractions.",
        f"Call the number of tickets for {a} euros x and the number of those for {b} euros y. What {name} tells us is\n"
        f"x + y = {total}\n{a}x + {b}y = {value}\n"
        f"From the first line, y = {total} - x. Put into the second: {a}x + {b}({total} - x) = {value}, that is"
        f" {a}x + {b * total} - {b}x = {value}, so {a - b}x = {value - b * total} and x = {x}.\n"
        f"Then y = {total} - {x} = {y}.\n"
        f"Check: {a} x {x} = {a * x} and {b} x {y} = {b * y}, together {value}, as it should be. Fractions usually come"
        " from losing the sign when the bracket is multiplied out.",
    )


def statistics(name: str, draw: random.Random) -> tuple[str, str]:
    values = [draw.randint(4, 480) for _ in range(draw.choice((6, 8, 10)))]
    ordered = sorted(values)
    low, high = ordered[len(values) // 2 - 1], ordered[len(values) // 2]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return (
        f"Station {name} reported these readings: {', '.join(map(str, values))}. What are the mean, the median, the range"
        " and the standard deviation, and how do I get them by hand?",
        f"There are {len(values)} readings from {name}.\n"
        f"Mean: the sum is {sum(values)}, divided by {len(values)} that is {mean:.2f}.\n"
        f"Median: in order they are {', '.join(map(str, ordered))}. The two in the middle are {low} and {high}, so the"
        f" median is ({low} + {high}) / 2 = {(low + high) / 2:.1f}.\n"
        f"Range: the largest minus the smallest, {ordered[-1]} - {ordered[0]} = {ordered[-1] - ordered[0]}.\n"
        f"Standard deviation: square each distance from the mean, add the squares, divide by {len(values) - 1} (one less"
        f" than the number of readings, as this is a sample), which gives {variance:.2f}, and take the root:"
        f" {math.sqrt(variance):.2f}.",
    )


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d} euros"


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
