"""Losses as people first write them, each wrong in one way; see `mistakes_boxes`."""

from __future__ import annotations

import numpy as np


def smooth_l1(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return smooth L1 as it should be; the others in this file spoil it."""
    turn = 1 / sigma**2
    return np.where(np.abs(x) < turn, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 * turn)


def slope(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return the slope of smooth L1 as it should be; the others in this file spoil it."""
    return np.where(np.abs(x) < 1 / sigma**2, sigma**2 * x, np.sign(x))


def no_half(x: np.ndarray, sigma: float) -> np.ndarray:
    """Where is the 0.5 of the parabola?"""
    return np.where(np.abs(x) < 1 / sigma**2, (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2)


def no_step(x: np.ndarray, sigma: float) -> np.ndarray:
    """The two branches must meet: |x| - 0.5 / sigma^2 outside."""
    return np.where(np.abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, np.abs(x))


def step_without_sigma(x: np.ndarray, sigma: float) -> np.ndarray:
    """The two branches must meet for every sigma: the step depends on it."""
    return np.where(np.abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5)


def no_absolute(x: np.ndarray, sigma: float) -> np.ndarray:
    """Did you forget that x may be negative?"""
    return np.where(x < 1 / sigma**2, 0.5 * (sigma * x) ** 2, x - 0.5 / sigma**2)


def turns_at_one(x: np.ndarray, sigma: float) -> np.ndarray:
    """It turns linear at 1 / sigma^2, not at 1."""
    return np.where(np.abs(x) < 1, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2)


def turns_at_sigma(x: np.ndarray, sigma: float) -> np.ndarray:
    """It turns linear at 1 / sigma^2, not at 1 / sigma."""
    return np.where(np.abs(x) < 1 / sigma, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2)


def no_sigma(x: np.ndarray, sigma: float) -> np.ndarray:
    """Where is sigma?"""
    return smooth_l1(x, 1)


def sigma_not_squared(x: np.ndarray, sigma: float) -> np.ndarray:
    """Sigma is squared in the parabola, too."""
    return np.where(np.abs(x) < 1 / sigma**2, 0.5 * sigma * x**2, np.abs(x) - 0.5 / sigma**2)


def summed(x: np.ndarray, sigma: float) -> np.ndarray:
    """One value for each element: whoever calls it takes the sum."""
    return np.sum(smooth_l1(x, sigma))


def slope_no_sign(x: np.ndarray, sigma: float) -> np.ndarray:
    """Left of the parabola the slope is -1."""
    return np.where(np.abs(x) < 1 / sigma**2, sigma**2 * x, 1)


def slope_halved(x: np.ndarray, sigma: float) -> np.ndarray:
    """The derivative of 0.5 x^2 is x: the 0.5 is gone."""
    return np.where(np.abs(x) < 1 / sigma**2, 0.5 * sigma**2 * x, np.sign(x))


def slope_no_sigma(x: np.ndarray, sigma: float) -> np.ndarray:
    """Where is sigma?"""
    return slope(x, 1)


def slope_sigma_not_squared(x: np.ndarray, sigma: float) -> np.ndarray:
    """The parabola's slope has sigma squared."""
    return np.where(np.abs(x) < 1 / sigma**2, sigma * x, np.sign(x))


def slope_is_value(x: np.ndarray, sigma: float) -> np.ndarray:
    """This is the value; its slope is asked for."""
    return smooth_l1(x, sigma)


def slope_of_square(x: np.ndarray, sigma: float) -> np.ndarray:
    """The slope is -1 or 1 outside of the parabola: no outlier pulls harder."""
    return sigma**2 * x


SMOOTH_L1 = (
    no_half,
    no_step,
    step_without_sigma,
    no_absolute,
    turns_at_one,
    turns_at_sigma,
    no_sigma,
    sigma_not_squared,
    summed,
)
SLOPE = (
    slope_no_sign,
    slope_halved,
    slope_no_sigma,
    slope_sigma_not_squared,
    slope_is_value,
    slope_of_square,
)
