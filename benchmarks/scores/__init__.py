"""How far scores can be relied on, measured on the demo model's held-out pictures.

Softmax before and after a temperature; "none of these" on pictures without a right label; the
sigmoid of a model that was trained with softmax. Half of the pictures fit the calibrations, the
other half is measured.
"""
