"""`make bench`: what clip-worker costs, beside the raw engine and beside what one would write.

Every contender is a real process on a `redis-server` of its own, results stored, messages
acknowledged after. Within a section the contenders take turns, round by round, so that a busy
moment of the machine falls on all of them; figures are medians of the rounds.

Sections: `end_to_end`, `no_op`, `latency`, `growth`, `start_up`, a module each; each gives plain
data, which `document` keeps as JSON, and `tables` and `plots` show. Nothing is written by hand.
"""
