"""Random requests against every operation.

    python -m tests.end_to_end.fuzz --requests 20000 --database sqlite --seed 1

`operations.py` lists what can be asked: the route table, with the parameters and bodies that the specification
and the handlers' own structs describe. `values.py` makes values of a schema, with the real ids that `pool.py` keeps of
earlier answers, so that requests get past the door; `nasty.py` spoils them. `world.py` is the server with its people;
`run.py` asks, judges every answer and looks at the end whether the server is still healthy.
"""
