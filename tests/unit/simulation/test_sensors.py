from __future__ import annotations

import itertools
import statistics

from hypothesis import given
from hypothesis import strategies as st

from thingpass.simulation.chance import between, drift, fraction, mix
from thingpass.simulation.sensors import (
    DAY_S,
    HIGHEST_HUMIDITY,
    HIGHEST_TEMPERATURE,
    LOWEST_HUMIDITY,
    LOWEST_TEMPERATURE,
    make_sensors,
)

seeds = st.integers(0, 2**64)
numbers = st.integers(0, 10**6)
times = st.floats(0, 4e9)


@given(seeds, numbers, times)
def test_the_same_seed_device_and_moment_measure_the_same(seed: int, number: int, at_s: float) -> None:
    assert make_sensors(seed, number).read(at_s) == make_sensors(seed, number).read(at_s)


@given(seeds, numbers, times)
def test_values_stay_within_what_a_sensor_can_show(seed: int, number: int, at_s: float) -> None:
    reading = make_sensors(seed, number).read(at_s)
    assert LOWEST_TEMPERATURE <= reading.temperature <= HIGHEST_TEMPERATURE
    assert LOWEST_HUMIDITY <= reading.humidity <= HIGHEST_HUMIDITY
    assert 0 <= reading.battery <= 100


@given(seeds, numbers, times, st.floats(0, 5))
def test_temperature_does_not_jump(seed: int, number: int, at_s: float, later_s: float) -> None:
    sensors = make_sensors(seed, number)
    before, after = sensors.read(at_s), sensors.read(at_s + later_s)
    allowed = 0.3 + (0.7 if before.door_open != after.door_open else 0)
    assert abs(before.temperature - after.temperature) <= allowed


@given(seeds, numbers, times)
def test_a_battery_drains_and_is_replaced_once_in_its_life(seed: int, number: int, at_s: float) -> None:
    sensors = make_sensors(seed, number)
    day = [sensors.battery(at_s + hour * 3_600) for hour in range(24)]
    replaced = sum(later > earlier for earlier, later in itertools.pairwise(day))
    assert replaced <= 1


def test_afternoons_are_warmer_than_nights() -> None:
    sensors = [make_sensors(1, number) for number in range(100)]
    nights = [room.read(day * DAY_S + 2 * 3_600).temperature for room in sensors for day in range(20)]
    afternoons = [room.read(day * DAY_S + 14 * 3_600).temperature for room in sensors for day in range(20)]
    assert statistics.mean(afternoons) > statistics.mean(nights) + 2


def test_rooms_differ_and_doors_open_by_day() -> None:
    sensors = [make_sensors(1, number) for number in range(200)]
    assert len({room.mean_temperature for room in sensors}) == 200
    by_day = sum(room.is_door_open(12 * 3_600 + at) for room in sensors for at in range(0, 3_600, 60))
    by_night = sum(room.is_door_open(2 * 3_600 + at) for room in sensors for at in range(0, 3_600, 60))
    assert by_day > 2 * by_night > 0


@given(st.lists(st.integers(-(2**70), 2**70), max_size=4))
def test_chance_is_64_bits_and_a_fraction_stays_below_1(numbers: list[int]) -> None:
    assert 0 <= mix(*numbers) < 2**64
    assert 0 <= fraction(*numbers) < 1
    assert 3 <= between(3, 5, *numbers) <= 5
    assert -1 <= drift(mix(*numbers), 1234.5, 7.0) <= 1


def test_chance_is_spread_evenly() -> None:
    values = [fraction(1, number) for number in range(10_000)]
    assert abs(statistics.mean(values) - 0.5) < 0.02
    assert abs(statistics.pstdev(values) - 0.2887) < 0.02
