"""Roots, linear systems and differential equations, differentiated by the equation they solve."""
