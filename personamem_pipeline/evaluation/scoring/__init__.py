"""From raw replies to figures: parsing, labelling, and everything that `results.json` says about systems.

Nothing in here generates or reads a model. Each module takes answers and returns plain rows, so that another parser, slice
or bound is a matter of scoring again. `accuracy` always means: strict parser, asked after the whole history, over every
question in every option order; what could not be asked, parsed or finished is wrong, and is counted apart.
"""
